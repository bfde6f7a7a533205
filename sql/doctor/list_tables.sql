-- ----------------------------------------------------------------------
-- doctor/list_tables: the tables of the schema: rows, dead rows, sizes. The
-- partitions of a table count as one.
--
-- Parameters: $1 the schema's name.
-- Returns:    one row for each table. vacuumed_at of a partitioned table is that
--             of the partition that was vacuumed last.
-- Locks:      ACCESS SHARE for a moment, to read the sizes.
-- ----------------------------------------------------------------------
SELECT format('%I.%I', $1::text, x.name) AS name, sum(x.live)::bigint AS live, sum(x.dead)::bigint AS dead,
       max(x.vacuumed_at) AS vacuumed_at, bool_or(x.autovacuum_off) AS autovacuum_off, max(x.freeze_age) AS freeze_age,
       sum(x.bytes)::bigint AS bytes
  FROM (SELECT coalesce(p.relname, c.relname)::text AS name, s.n_live_tup AS live, s.n_dead_tup AS dead,
               greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at,
               coalesce('autovacuum_enabled=false' = ANY (c.reloptions) OR 'autovacuum_enabled=off' = ANY (c.reloptions), false)
                   AS autovacuum_off,
               CASE WHEN c.relfrozenxid = '0'::xid THEN 0 ELSE age(c.relfrozenxid)::bigint END AS freeze_age,
               pg_total_relation_size(c.oid) AS bytes
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_stat_all_tables s ON s.relid = c.oid
          LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
          LEFT JOIN pg_class p ON p.oid = i.inhparent
         WHERE n.nspname = $1 AND c.relkind = 'r') x
 GROUP BY x.name
 ORDER BY x.name
