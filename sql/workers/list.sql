-- ----------------------------------------------------------------------
-- workers/list: the workers, oldest first.
--
-- Parameters: $1 how many at most.
-- Returns:    one row for each incarnation; stale: its heartbeat stands still
--             for longer than its lease.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.id, w.name, w.version, w.capacity, w.in_flight, w.lanes, w.stopping, w.gone, w.trouble, w.topics, w.started_at, w.heartbeat_at,
       w.heartbeat_at < clock_timestamp() - w.lease AS late, l.worker IS NOT DISTINCT FROM w.id AS leader,
       pgtopic.may_notify()
       AND coalesce(pg_sequence_last_value('pgtopic.notify_suppressed_until'), 0) < extract(epoch FROM clock_timestamp()) * 1000000
       AS notified
  FROM pgtopic.workers w
 CROSS JOIN pgtopic.leader l
 ORDER BY w.started_at, w.id
 LIMIT $1::bigint
