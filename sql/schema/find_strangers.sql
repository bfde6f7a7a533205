-- ----------------------------------------------------------------------
-- schema/find_strangers: what stands in the schema and is no part of an
-- extension, if pgtopic is not installed there. Its table of applied migrations
-- may stand there alone: a migration was interrupted.
--
-- Parameters: $1 the schema's name.
-- Returns:    names of tables, views, sequences and functions, ten at most.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT x.name
  FROM (SELECT c.relname::text AS name, 'pg_class'::regclass AS kind, c.oid
          FROM pg_class c
         WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = $1)
           AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relname <> 'schema_history'
        UNION ALL
        SELECT p.proname || '()', 'pg_proc'::regclass, p.oid
          FROM pg_proc p
         WHERE p.pronamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = $1)) x
 WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = x.kind AND d.objid = x.oid AND d.deptype IN ('e', 'i'))
 ORDER BY x.name
 LIMIT 10
