-- ----------------------------------------------------------------------
-- merge_activity: turn old rows of activity into rows of longer spans: one step
-- of several.
--
-- Several rows of a webhook and span may be left, one of each step. Readers add
-- them up.
--
-- Parameters:
--   from_seconds, to_seconds  the spans, now and then
--   older_than                how old the rows must be
--   rows_at_most              how many rows to take
--
-- Returns: how many rows it took.
-- Locks:   the rows that it takes.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.merge_activity(from_seconds integer, to_seconds integer, older_than interval, rows_at_most bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET work_mem = '32MB'
AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    taken    bigint;
BEGIN
    WITH old AS MATERIALIZED (
        DELETE FROM pgtopic.activity a
         WHERE a.ctid = ANY (ARRAY(SELECT x.ctid
                                     FROM pgtopic.activity x
                                    WHERE x.seconds = from_seconds AND x.at < clock_timestamp() - older_than
                                    ORDER BY x.at
                                    LIMIT rows_at_most))
        RETURNING a.*, to_timestamp(floor(extract(epoch FROM a.at) / to_seconds) * to_seconds) AS span
    ), latencies AS (
        SELECT b.webhook_id, b.span, array_agg(b.number ORDER BY b.bucket) AS latency
          FROM (SELECT o.webhook_id, o.span, n.bucket, sum(n.number)::bigint AS number
                  FROM old o CROSS JOIN LATERAL unnest(o.latency) WITH ORDINALITY n (number, bucket)
                 GROUP BY o.webhook_id, o.span, n.bucket) b
         GROUP BY b.webhook_id, b.span
    ), merged AS (
        INSERT INTO pgtopic.activity (webhook_id, at, seconds, accepted, failed, dead, in_flight, latency, last_success_at,
                                      last_failure_at, last_status_code, last_error_class, last_error)
        SELECT m.webhook_id, m.span, to_seconds, m.accepted, m.failed, m.dead, 0, coalesce(l.latency, '{}'), m.last_success_at,
               m.last_failure_at, (m.failure).last_status_code, (m.failure).last_error_class, (m.failure).last_error
          FROM (SELECT o.webhook_id, o.span, sum(o.accepted)::bigint AS accepted, sum(o.failed)::bigint AS failed,
                       sum(o.dead)::bigint AS dead, max(o.last_success_at) AS last_success_at,
                       max(o.last_failure_at) AS last_failure_at,
                       (array_agg(ROW (o.last_status_code, o.last_error_class, o.last_error)::pgtopic.last_failure
                                  ORDER BY o.last_failure_at DESC) FILTER (WHERE o.last_failure_at IS NOT NULL))[1] AS failure
                  FROM old o
                 GROUP BY o.webhook_id, o.span) m
          LEFT JOIN latencies l ON l.webhook_id = m.webhook_id AND l.span = m.span
    )
    SELECT count(*) INTO taken FROM old;
    RETURN taken;
END
$$;
