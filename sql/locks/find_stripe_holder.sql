-- ----------------------------------------------------------------------
-- locks/find_stripe_holder: who holds a partition.
--
-- Parameters: $1 topic id, $2 partition key.
-- Returns:    the session's process id, application and since when its
--             transaction runs. All three are null for a prepared transaction.
--             Nothing if nobody holds it.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT l.pid, nullif(a.application_name, '') AS application_name, a.xact_start AS since
  FROM pg_locks l
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
   AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
   AND l.classid = pgtopic.stripe_class()::oid AND l.objid = pgtopic.stripe($1::bigint, $2::text)::oid
 ORDER BY l.pid
 LIMIT 1
