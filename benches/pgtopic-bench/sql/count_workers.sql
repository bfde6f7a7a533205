-- ----------------------------------------------------------------------
-- count_workers: how many workers are registered.
--
-- Parameters: none.
-- Returns:    their number.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT count(*) AS workers FROM workers
