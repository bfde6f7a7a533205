-- ----------------------------------------------------------------------
-- schema/find_missing_grants: what this role may not do, and must, to run the
-- API or a worker.
--
-- Parameters: $1 the schema's name.
-- Returns:    for each kind that lacks something: the kind, the rights that are
--             needed, and an example of what lacks one.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH schema AS (SELECT n.oid, n.nspname FROM pg_namespace n WHERE n.nspname = $1)
SELECT x.kind, x.needed, min(x.name)
  FROM (SELECT 1 AS place, 'SCHEMA' AS kind, 'USAGE' AS needed, s.nspname::text AS name
          FROM schema s
         WHERE NOT has_schema_privilege(s.oid, 'USAGE')
        UNION ALL
        SELECT 2, 'TABLES', 'SELECT, INSERT, UPDATE, DELETE', c.relname::text
          FROM schema s
          JOIN pg_class c ON c.relnamespace = s.oid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
         -- The triggers, which run as the owner, write the keys. Only migrations write the others.
         WHERE c.relname NOT IN ('schema_history', 'used_idempotency_keys')
           AND NOT (has_table_privilege(c.oid, 'SELECT')
                    AND (c.relname = 'installed' OR has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
                                                    AND has_table_privilege(c.oid, 'DELETE')))
        UNION ALL
        SELECT 3, 'SEQUENCES', 'USAGE, UPDATE', c.relname::text
          FROM schema s
          JOIN pg_class c ON c.relnamespace = s.oid AND c.relkind = 'S'
         WHERE NOT (has_sequence_privilege(c.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'UPDATE'))
        UNION ALL
        SELECT 4, 'FUNCTIONS', 'EXECUTE', p.proname::text
          FROM schema s
          JOIN pg_proc p ON p.pronamespace = s.oid
         WHERE NOT has_function_privilege(p.oid, 'EXECUTE')) x
 GROUP BY x.place, x.kind, x.needed
 ORDER BY x.place
