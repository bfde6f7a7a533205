-- The oldest jobs that have not ended.
-- Parameters: how many at most. Returns: id, kind, rate limit or null. Locks: none.
SELECT j.id, j.kind, j.rate_limit_per_second
  FROM pgtopic.jobs j
 WHERE j.state IN ('queued', 'running', 'canceling')
 ORDER BY j.id
 LIMIT $1
