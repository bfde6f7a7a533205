-- Close a webhook's breaker.
-- Parameters: webhook id; worker, token and epoch of the probe that was answered, all null: an
-- operator closes it; reason; who closes it.
-- Returns: see close_breaker. Locks: the breaker's row.
SELECT pgtopic.close_breaker($1, $2, $3, $4, $5, $6)
