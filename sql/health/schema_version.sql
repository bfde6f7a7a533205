-- ----------------------------------------------------------------------
-- health/schema_version: the newest migration that was applied.
--
-- Parameters: none.
-- Returns:    its version. Raises 42P01 where nothing was ever migrated.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT max(version) AS version FROM pgtopic.schema_history
