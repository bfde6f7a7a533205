-- ----------------------------------------------------------------------
-- schema/list_triggers: the triggers of our tables that are switched on.
--
-- Parameters: $1 the schema's name.
-- Returns:    names and definitions, with the schema's name quoted in every
--             place as `migrate` quotes it.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.tgname::text,
       replace(replace(pg_get_triggerdef(t.oid),
                       ' ON ' || quote_ident($1) || '.', ' ON ' || quoted.schema || '.'),
               ' EXECUTE FUNCTION ' || p.proname || '(', ' EXECUTE FUNCTION ' || quoted.schema || '.' || p.proname || '(')
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_proc p ON p.oid = t.tgfoid AND p.pronamespace = n.oid
 CROSS JOIN (SELECT CASE $1 WHEN 'pgtopic' THEN $1 ELSE '"' || replace($1, '"', '""') || '"' END AS schema) quoted
 WHERE n.nspname = $1 AND NOT t.tgisinternal AND t.tgenabled = 'O'
