-- ----------------------------------------------------------------------
-- list_newest_attempts: the newest attempts in the attempt log, as they stand
-- in the tables: those in the last pages of today's and yesterday's partition.
--
-- Attempts have no order of their own, and no index by time. They are appended,
-- so the newest stand in the last pages, and these alone are read (TID range
-- scan). Partitions grow while a plan is kept, so none may read all of a table.
--
-- Parameters:
--   pages        how many pages of a partition to read at most
--   webhook_ids  the webhooks whose attempts are shown
--
-- Returns: partition, place and webhook of each attempt; the rest is null unless
--          the webhook is among webhook_ids.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.list_newest_attempts(pages bigint, webhook_ids bigint[])
RETURNS TABLE (partition bigint, place bigint, webhook_id bigint, message_id bigint, attempt integer, outcome text,
               status_code smallint, error_class text, error text, duration_us bigint, worker_id uuid, attempted_at timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET enable_seqscan = off SET enable_indexscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    day   timestamp;
    first tid;
BEGIN
    FOREACH day IN ARRAY ARRAY[date_trunc('day', now() AT TIME ZONE 'UTC'),
                               date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day']
    LOOP
        first := format('(%s,0)', greatest(pg_relation_size(to_regclass('pgtopic.attempts_' || to_char(day, 'YYYYMMDD')))
                                           / current_setting('block_size')::bigint - pages, 0))::tid;
        RETURN QUERY
        SELECT a.tableoid::bigint, (a.ctid::text::point)[0]::bigint * 65536 + (a.ctid::text::point)[1]::bigint, a.webhook_id,
               s.message_id, s.attempt, s.outcome, s.status_code, s.error_class, s.error, s.duration_us, s.worker_id,
               s.attempted_at
          FROM pgtopic.attempts a
          LEFT JOIN LATERAL (SELECT a.message_id, a.attempt, a.outcome, a.status_code, a.error_class, a.error, a.duration_us,
                                    a.worker_id, a.attempted_at
                              WHERE a.webhook_id = ANY (list_newest_attempts.webhook_ids)) s ON true
         WHERE a.attempted_at >= day AT TIME ZONE 'UTC' AND a.attempted_at < (day + interval '1 day') AT TIME ZONE 'UTC'
           AND a.ctid >= first;
    END LOOP;
END
$$;
