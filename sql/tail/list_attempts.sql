-- ----------------------------------------------------------------------
-- tail/list_attempts: the newest attempts in the attempt log, as they stand in
-- the tables: those in the last pages of today's and yesterday's partition.
--
-- Attempts have no order of their own, and no index by time. They are appended,
-- so the newest stand in the last pages. There only these pages are read (TID
-- range scan).
--
-- Parameters: $1 the most pages of a partition, $2 the webhooks whose attempts
--             are shown.
-- Returns:    partition, place and webhook of each attempt; the rest is null
--             unless the webhook is shown.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT a.tableoid::bigint AS partition, (a.ctid::text::point)[0]::bigint * 65536 + (a.ctid::text::point)[1]::bigint AS place,
       a.webhook_id, s.message_id, s.attempt, s.outcome, s.status_code, s.error_class, s.error, s.duration_us, s.worker_id,
       s.attempted_at
  FROM (SELECT a.tableoid, a.ctid, a.*
          FROM pgtopic.attempts a
         WHERE a.attempted_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
           AND a.attempted_at < (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC'
           AND a.ctid >= (SELECT format('(%s,0)', greatest(pg_relation_size(to_regclass('pgtopic.attempts_'
                                     || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')))
                                  / current_setting('block_size')::bigint - $1::bigint, 0))::tid)
        UNION ALL
        SELECT a.tableoid, a.ctid, a.*
          FROM pgtopic.attempts a
         WHERE a.attempted_at >= (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day') AT TIME ZONE 'UTC'
           AND a.attempted_at < date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
           AND a.ctid >= (SELECT format('(%s,0)', greatest(pg_relation_size(to_regclass('pgtopic.attempts_'
                                     || to_char(now() AT TIME ZONE 'UTC' - interval '1 day', 'YYYYMMDD')))
                                  / current_setting('block_size')::bigint - $1::bigint, 0))::tid)) a
  LEFT JOIN LATERAL (SELECT a.message_id, a.attempt, a.outcome, a.status_code, a.error_class, a.error, a.duration_us,
                            a.worker_id, a.attempted_at
                      WHERE a.webhook_id = ANY ($2::bigint[])) s ON true
