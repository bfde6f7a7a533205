-- Delete the row of a gone worker.
-- Parameters: the worker. Returns: whether its row is gone. Locks: the row (SKIP LOCKED).
SELECT pgtopic.remove_worker($1)
