-- ----------------------------------------------------------------------
-- metrics/list_values: numbers of the database and of the server, for the
-- metrics.
--
-- No table of messages, deliveries, lanes or dead letters is read. Jobs are
-- found by the index of those that have not ended. background_runs has one row
-- for each piece of background work.
--
-- Other roles' transactions are seen by members of pg_read_all_stats alone.
-- A standby or a replication slot that holds back vacuum is not seen: it has no
-- beginning.
--
-- Parameters: none.
-- Returns:    one row for each number: what it is, of what it is, the number,
--             and the time of the database's clock.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH here AS (
    SELECT d.oid FROM pg_database d WHERE d.datname = current_database()
), holders AS (
    SELECT a.xact_start AS since
      FROM pg_stat_activity a
     WHERE a.datid = (SELECT h.oid FROM here h) AND a.pid <> pg_backend_pid() AND a.backend_type <> 'autovacuum worker'
       AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
     UNION ALL
    SELECT x.prepared FROM pg_prepared_xacts x WHERE x.database = current_database()
), publishers AS (
    SELECT coalesce(x.prepared, a.xact_start) AS since
      FROM pg_locks l
      LEFT JOIN pg_stat_activity a ON a.pid = l.pid
      -- As in locks/find_holders.
      LEFT JOIN pg_prepared_xacts x
        ON l.pid IS NULL
       AND (l.virtualtransaction = '-1/' || x.transaction::text
            OR EXISTS (SELECT FROM pg_locks t
                        WHERE t.locktype = 'transactionid' AND t.granted AND t.pid IS NULL
                          AND t.virtualtransaction = l.virtualtransaction AND t.transactionid = x.transaction))
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.database = (SELECT h.oid FROM here h)
       -- Keys of stripes are not negative. Those of workers are.
       AND l.classid = pgtopic.stripe_class()::oid AND l.objid::bigint < 2147483648
), counted (word, of, value) AS (
    SELECT 'messages_inserted', ARRAY[]::text[], pg_stat_get_tuples_inserted('pgtopic.messages'::regclass)::float8
     UNION ALL
    SELECT 'notification_queue', '{}', pg_notification_queue_usage()
     UNION ALL
    SELECT 'oldest_snapshot', '{}', coalesce(extract(epoch FROM clock_timestamp() - min(h.since)), 0)::float8 FROM holders h
     UNION ALL
    SELECT 'oldest_publisher', '{}', coalesce(extract(epoch FROM clock_timestamp() - min(p.since)), 0)::float8 FROM publishers p
     UNION ALL
    SELECT 'jobs', ARRAY[j.kind, j.state], count(*)
      FROM pgtopic.jobs j
     WHERE j.state IN ('queued', 'running', 'canceling')
     GROUP BY j.kind, j.state
     UNION ALL
    SELECT 'dead_tuples', ARRAY[t.name], pg_stat_get_dead_tuples(t.id::oid)
      FROM (VALUES ('messages', 'pgtopic.messages'::regclass), ('deliveries', 'pgtopic.deliveries'::regclass),
                   ('lanes', 'pgtopic.lanes'::regclass), ('dead_letters', 'pgtopic.dead_letters'::regclass),
                   ('breakers', 'pgtopic.breakers'::regclass), ('shares', 'pgtopic.shares'::regclass),
                   ('workers', 'pgtopic.workers'::regclass), ('activity', 'pgtopic.activity'::regclass),
                   ('webhook_samples', 'pgtopic.webhook_samples'::regclass)) t (name, id)
     UNION ALL
    SELECT 'background_run', ARRAY[r.piece, CASE WHEN r.error IS NULL THEN 'done' ELSE 'failed' END],
           greatest(extract(epoch FROM clock_timestamp() - r.finished_at), 0)
      FROM pgtopic.background_runs r
)
SELECT c.word, c.of, c.value, clock_timestamp() AS read_at FROM counted c
