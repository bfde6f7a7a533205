-- ----------------------------------------------------------------------
-- doctor/list_workers: the registered workers.
--
-- Parameters: $1 how many at most.
-- Returns:    one row for each incarnation, oldest first. late: its heartbeat
--             stands still for longer than its lease. has_session: it holds its
--             lock.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.name, w.version, w.settings, w.topics, w.gone, w.heartbeat_at < clock_timestamp() - w.lease AS late, w.trouble,
       EXISTS (SELECT
                 FROM pg_locks l
                WHERE l.locktype = 'advisory' AND l.granted AND l.mode = 'ExclusiveLock' AND l.objsubid = 2
                  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                  AND l.classid = pgtopic.stripe_class()::oid AND l.objid = w.lock_key::oid) AS has_session
  FROM pgtopic.workers w
 ORDER BY w.started_at, w.id
 LIMIT $1::bigint
