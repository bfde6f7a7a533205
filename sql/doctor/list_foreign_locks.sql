-- ----------------------------------------------------------------------
-- doctor/list_foreign_locks: strangers that hold advisory locks of ours: the key
-- of no registered worker; or a partition without a transaction, so for as long
-- as their session lives.
--
-- Workers and this statement's own session try locks for a moment, shared. So
-- only exclusive ones count. A worker holds its key before it is registered: it
-- is left out for its first seconds.
--
-- Parameters: $1 how many at most.
-- Returns:    the process; role, application and state; since when its session
--             lives (null if this role may not see it); how many locks.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT l.pid, concat_ws(', ', 'role ' || a.usename, nullif(a.application_name, ''), a.state) AS who, a.backend_start AS since,
       count(*) AS locks
  FROM pg_locks l
  JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.mode = 'ExclusiveLock' AND l.objsubid = 2
   AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
   AND l.classid = pgtopic.stripe_class()::oid AND l.pid <> pg_backend_pid()
   AND CASE WHEN l.objid::bigint < 2147483648 THEN a.state = 'idle'
            ELSE NOT EXISTS (SELECT FROM pgtopic.workers w WHERE w.lock_key::oid = l.objid)
                 AND coalesce(a.state_change < clock_timestamp() - interval '5 s', true) END
 GROUP BY l.pid, a.usename, a.application_name, a.state, a.backend_start
 ORDER BY a.backend_start, l.pid
 LIMIT $1::bigint
