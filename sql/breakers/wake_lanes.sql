-- Make lanes due that wait for the end of a back-off, when the breaker has closed.
-- Parameters: webhook id, through how many lanes to go.
-- Returns: see wake_lanes. Locks: the breaker's row and the lanes, SKIP LOCKED.
SELECT pgtopic.wake_lanes($1, $2)
