-- Delete the row of a worker that is gone.
-- Parameters: the worker. Returns: whether it is not there any more. Locks: the row (SKIP LOCKED).
SELECT pgtopic.remove_worker($1)
