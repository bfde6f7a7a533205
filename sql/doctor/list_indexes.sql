-- ----------------------------------------------------------------------
-- doctor/list_indexes: the indexes of the schema.
--
-- Parameters: $1 the schema's name.
-- Returns:    names; the name with the schema as SQL writes it; whether each may
--             be used and is kept up to date.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT c.relname::text, format('%I.%I', n.nspname, c.relname), i.indisvalid AND i.indisready AND i.indislive
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = $1
