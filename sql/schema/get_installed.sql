-- ----------------------------------------------------------------------
-- schema/get_installed: what is installed here.
--
-- Parameters: none.
-- Returns:    one row. The last two say whether the server takes writes.
-- Raises:     42P01 nothing is installed here.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT i.number, i.works_from, i.functions_hash, current_setting('server_encoding') AS encoding,
       (SELECT n.cell FROM pgtopic.installation n) AS cell,
       pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only
  FROM pgtopic.installed i
