-- ----------------------------------------------------------------------
-- doctor/list_snapshots: who keeps dead rows of this database: transactions,
-- prepared transactions, standbys and replication slots.
--
-- Parameters: $1 how many at most.
-- Returns:    the process, the gid, or the slot; role, application and state;
--             since when (null if this role may not see it, and for slots); how
--             many transactions have begun since. The oldest first.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT x.pid, x.gid, x.slot, x.who, x.since, age(x.oldest)::bigint AS transactions
  FROM (SELECT a.pid, NULL::text AS gid, NULL::text AS slot,
               concat_ws(', ', 'role ' || a.usename, nullif(a.application_name, ''), a.state) AS who, a.xact_start AS since,
               -- Both are older than what this transaction sees, or null.
               CASE WHEN age(a.backend_xid) >= age(a.backend_xmin) OR a.backend_xmin IS NULL THEN a.backend_xid
                    ELSE a.backend_xmin END AS oldest
          FROM pg_stat_activity a
         WHERE a.pid <> pg_backend_pid() AND (a.datname = current_database() OR a.datname IS NULL)
           AND a.backend_type <> 'autovacuum worker'
        UNION ALL
        SELECT NULL, p.gid, NULL, 'role ' || p.owner, p.prepared, p.transaction
          FROM pg_prepared_xacts p
         WHERE p.database = current_database()
        UNION ALL
        SELECT NULL, NULL, s.slot_name::text, CASE WHEN s.active THEN 'with a reader' ELSE 'without a reader' END, NULL,
               CASE WHEN age(s.xmin) >= age(s.catalog_xmin) OR s.catalog_xmin IS NULL THEN s.xmin ELSE s.catalog_xmin END
          FROM pg_replication_slots s) x
 WHERE x.oldest IS NOT NULL
 ORDER BY age(x.oldest) DESC
 LIMIT $1::bigint
