-- ----------------------------------------------------------------------
-- schema/get_installed: what is installed here.
--
-- Parameters: none.
-- Returns:    one row.
-- Raises:     42P01 nothing is installed here.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT i.number, i.works_from, i.functions_hash, current_setting('server_encoding') AS encoding
  FROM pgtopic.installed i
