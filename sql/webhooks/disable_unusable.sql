-- Stop requests to a webhook of which none can be made. Its backlog is kept.
-- Only where the row is still the one that was read: a change since may have repaired it.
-- Parameters: webhook id, xmin of the row that was read, reason. Returns: nothing. Locks: the
-- webhook's row.
UPDATE pgtopic.webhooks SET disabled_reason = $3
 WHERE id = $1 AND xmin = $2::text::xid AND disabled_reason IS NULL
