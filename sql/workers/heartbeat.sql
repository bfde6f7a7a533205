-- Say that a worker lives and listens.
-- Parameters: worker, requests in flight, lease in seconds (null leaves its row alone).
-- Returns: see worker_heartbeat. Locks: the worker's row.
SELECT suppressed_us, notifies, given_ids, changed_at FROM pgtopic.worker_heartbeat($1, $2, $3)
