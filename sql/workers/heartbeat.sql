-- Say that a worker lives and listens.
-- Parameters: worker, lanes in flight, lanes that it holds, whether it stops, what goes wrong in
-- it, lease in seconds (null leaves its row alone).
-- Returns: see worker_heartbeat. Locks: the worker's row.
SELECT suppressed_us, notifies, given_ids, changed_at, sending, system_identifier, database_oid
  FROM pgtopic.worker_heartbeat($1, $2, $3, $4, $5, $6)
