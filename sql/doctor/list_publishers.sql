-- ----------------------------------------------------------------------
-- doctor/list_publishers: transactions that hold partitions.
--
-- A session that holds one and is in no transaction is a stranger: see
-- doctor/list_foreign_locks.
--
-- Parameters: $1 how many at most.
-- Returns:    the process, or the gid of a prepared transaction; role,
--             application and state; since when (null if this role may not see
--             it); how many partitions. The oldest first.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT h.pid, x.gid, concat_ws(', ', 'role ' || coalesce(a.usename, x.owner), nullif(a.application_name, ''), a.state) AS who,
       coalesce(x.prepared, a.xact_start) AS since, h.partitions
  FROM (SELECT l.pid, l.virtualtransaction, count(*) AS partitions
          FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.granted AND l.mode = 'ExclusiveLock' AND l.objsubid = 2
           AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
           AND l.classid = pgtopic.stripe_class()::oid AND l.objid::bigint < 2147483648
           AND l.pid IS DISTINCT FROM pg_backend_pid()
         GROUP BY l.pid, l.virtualtransaction) h
  LEFT JOIN pg_stat_activity a ON a.pid = h.pid
  -- As in locks/find_holders.
  LEFT JOIN pg_prepared_xacts x
    ON h.pid IS NULL
   AND (h.virtualtransaction = '-1/' || x.transaction::text
        OR EXISTS (SELECT FROM pg_locks t
                    WHERE t.locktype = 'transactionid' AND t.granted AND t.pid IS NULL
                      AND t.virtualtransaction = h.virtualtransaction AND t.transactionid = x.transaction))
 WHERE a.state IS DISTINCT FROM 'idle'
 ORDER BY coalesce(x.prepared, a.xact_start) NULLS LAST, h.pid
 LIMIT $1::bigint
