-- ----------------------------------------------------------------------
-- doctor/list_functions: the functions of the schema.
--
-- Parameters: $1 the schema's name.
-- Returns:    names, bodies, and whether each runs with the rights of its owner.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT p.proname::text, p.prosrc, p.prosecdef
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = $1
