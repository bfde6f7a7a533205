-- ----------------------------------------------------------------------
-- why/list_senders: the instant, and the registered workers.
--
-- Parameters: $1 the most workers to return.
-- Returns:    one row for each worker, oldest first, and whether its session
--             holds its lock; one row with a null started if there is none.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT clock_timestamp() AS now, extract(epoch FROM w.started_at)::bigint AS started,
       w.id, w.name, w.in_flight, w.capacity, w.gone, w.topics, w.heartbeat_at,
       extract(epoch FROM w.lease)::double precision AS lease_seconds,
       EXISTS (SELECT
                 FROM pg_locks l
                WHERE l.locktype = 'advisory' AND l.granted AND l.mode = 'ExclusiveLock' AND l.objsubid = 2
                  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                  AND l.classid = pgtopic.stripe_class()::oid AND l.objid = w.lock_key::oid) AS has_session
  FROM (SELECT) AS one
  LEFT JOIN LATERAL (SELECT w.* FROM pgtopic.workers w ORDER BY w.started_at, w.id LIMIT $1::bigint) w ON true
 ORDER BY w.started_at, w.id
