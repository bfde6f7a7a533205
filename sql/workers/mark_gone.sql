-- Say that a worker is gone.
-- Parameters: the worker. Returns: whether this call did. Locks: the worker's row (SKIP LOCKED).
SELECT pgtopic.mark_worker_gone($1)
