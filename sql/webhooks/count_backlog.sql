-- ----------------------------------------------------------------------
-- webhooks/count_backlog: what a webhook is owed now.
--
-- Parameters: $1 webhook id, $2 how many lanes to look at, $3 where counting
--             stops.
-- Returns:    see webhook_backlog, and when that was.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT b.*, clock_timestamp() AS sampled_at FROM pgtopic.webhook_backlog($1, $2, $3) b
