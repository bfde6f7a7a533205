-- ----------------------------------------------------------------------
-- schema/list_triggers: the triggers of our tables.
--
-- Parameters: $1 the schema's name, $2 the name as our statements write it.
-- Returns:    names, definitions, and when they run, as pg_trigger says it. The
--             definitions write the schema's name as `migrate` does.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.tgname::text,
       replace(replace(pg_get_triggerdef(t.oid),
                       ' ON ' || quote_ident($1::text) || '.', ' ON ' || $2::text || '.'),
               ' EXECUTE FUNCTION ' || p.proname || '(', ' EXECUTE FUNCTION ' || $2::text || '.' || p.proname || '('),
       t.tgenabled::text
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_proc p ON p.oid = t.tgfoid AND p.pronamespace = n.oid
 WHERE n.nspname = $1 AND NOT t.tgisinternal
