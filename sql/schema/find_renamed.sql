-- ----------------------------------------------------------------------
-- schema/find_renamed: schemas that were renamed. The functions in a schema
-- name it, and a new name of the schema does not change them.
--
-- Parameters: $1 the schema's name.
-- Returns:    the schema's name now; the setting of the search path in its
--             functions: either it is $1 and they name another, or the other
--             way round.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT n.nspname::text, given
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 CROSS JOIN unnest(p.proconfig) AS given
 WHERE p.proname = 'stripe_class' AND given LIKE 'search\_path=pg\_catalog, %, pg\_temp'
   AND (n.nspname = $1) <> (given = 'search_path=pg_catalog, ' || quote_ident($1) || ', pg_temp')
