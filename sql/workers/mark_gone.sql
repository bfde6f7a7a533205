-- Mark a worker as gone.
-- Parameters: the worker. Returns: whether this call has marked it. Locks: the worker's row (SKIP
-- LOCKED).
SELECT pgtopic.mark_worker_gone($1)
