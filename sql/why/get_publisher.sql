-- ----------------------------------------------------------------------
-- why/get_publisher: who holds the stripe of a partition now: the oldest
-- transaction that does.
--
-- Parameters: $1 topic id, $2 partition key.
-- Returns:    the process, or for a prepared transaction no process and its
--             gid; the role, the application, and since when. Nothing if nobody
--             holds it.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT l.pid, coalesce(a.usename::text, x.owner::text) AS role,
       coalesce('prepared transaction ' || quote_literal(x.gid), a.application_name) AS application_name,
       coalesce(x.prepared, a.xact_start, a.backend_start) AS since
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  -- As in locks/find_holders.
  LEFT JOIN pg_prepared_xacts x
    ON l.pid IS NULL
   AND (l.virtualtransaction = '-1/' || x.transaction::text
        OR EXISTS (SELECT FROM pg_locks t
                    WHERE t.locktype = 'transactionid' AND t.granted AND t.pid IS NULL
                      AND t.virtualtransaction = l.virtualtransaction AND t.transactionid = x.transaction))
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
   AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
   AND l.classid = pgtopic.stripe_class()::oid AND l.objid = pgtopic.stripe($1::bigint, $2::text)::oid
   AND l.pid IS DISTINCT FROM pg_backend_pid()
 ORDER BY coalesce(x.prepared, a.xact_start, a.backend_start), l.pid
 LIMIT 1
