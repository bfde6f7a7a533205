-- Open a webhook's breaker, unless another worker objects.
-- Parameters: worker, webhook id, epoch, reason, how many seconds others have for an answer, for how
-- many seconds their answer counts, after how many seconds the first probe is due.
-- Returns: see open_breaker. Locks: the breaker's row.
SELECT outcome, epoch_now
  FROM pgtopic.open_breaker($1, $2, $3, $4, $5, $6, $7)
