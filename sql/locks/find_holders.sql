-- ----------------------------------------------------------------------
-- locks/find_holders: who holds some advisory locks of this database.
--
-- Parameters: $1 the class and $2 the keys as pg_locks shows them; $3 2 for
--             locks of two numbers, 1 for those of one.
-- Returns:    one text: sessions with their process id, role and application,
--             and prepared transactions with their gid. Null if nobody does.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT string_agg(DISTINCT
           CASE WHEN x.gid IS NOT NULL THEN format('prepared transaction %L of role %s', x.gid, x.owner)
                WHEN l.pid IS NULL THEN 'a prepared transaction'
                ELSE concat_ws(', ', format('process %s of role %s', l.pid, coalesce(a.usename::text, '?')),
                               nullif(a.application_name, ''), a.state,
                               'since ' || to_char(coalesce(a.xact_start, a.backend_start) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
           END, '; ')
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  -- The transaction's own number is a lock of the same virtual transaction. After a restart, the
  -- virtual transaction is named after it.
  LEFT JOIN pg_prepared_xacts x
    ON l.pid IS NULL
   AND (l.virtualtransaction = '-1/' || x.transaction::text
        OR EXISTS (SELECT FROM pg_locks t
                    WHERE t.locktype = 'transactionid' AND t.granted AND t.pid IS NULL
                      AND t.virtualtransaction = l.virtualtransaction AND t.transactionid = x.transaction))
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = $3::smallint
   AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
   AND l.classid = $1::bigint::oid AND l.objid = ANY ($2::bigint[]::oid[])
   AND l.pid IS DISTINCT FROM pg_backend_pid()
