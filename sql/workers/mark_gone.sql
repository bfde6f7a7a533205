-- Mark a worker as gone.
-- Parameters: the worker; why it was taken for dead or hung, or null; who says so.
-- Returns: whether this call has marked it. Locks: the worker's row (SKIP LOCKED).
SELECT pgtopic.mark_worker_gone($1, $2, $3)
