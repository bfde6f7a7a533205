-- Strike a worker off and make its lanes ready.
-- Parameters: the worker. Returns: how many lanes it held, or null where somebody else was faster.
-- Locks: the worker's row, its lanes.
SELECT pgtopic.release_worker($1)
