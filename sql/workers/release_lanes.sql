-- Make some lanes of a gone worker ready.
-- Parameters: the worker, webhook and lane after which to look, how many lanes to look at.
-- Returns: see release_lanes. Locks: the lanes (SKIP LOCKED).
SELECT released, locked, webhook_id, lane FROM pgtopic.release_lanes($1, $2, $3, $4)
