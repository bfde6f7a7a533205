-- Give the turn to probe a webhook back.
-- Parameters: worker, token, webhook id, epoch, whether a request was made, after how many seconds
-- the next probe is due, why the webhook is to be disabled or null.
-- Returns: see end_probe. Locks: the breaker's row.
SELECT pgtopic.end_probe($1, $2, $3, $4, $5, $6, $7)
