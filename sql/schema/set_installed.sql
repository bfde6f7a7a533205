-- ----------------------------------------------------------------------
-- schema/set_installed: say that functions, triggers and grants were applied.
--
-- Parameters: $1 the newest migration's number, $2 the hash of what was
--             applied, $3 the version of pgtopic.
-- Returns:    nothing.
-- Locks:      the row.
-- ----------------------------------------------------------------------
UPDATE pgtopic.installed SET number = $1::integer, functions_hash = $2::text, applied_by = $3::text, applied_at = now()
