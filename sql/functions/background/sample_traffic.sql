-- ----------------------------------------------------------------------
-- sample_traffic: note the traffic of the last minute, by webhook and topic, and
-- which webhooks fail.
--
-- How much a topic publishes is exact up to 2,000 message ids a minute. Of more
-- ids, 2,000 are looked up, evenly apart, and stand for the others.
--
-- Parameters: leader  who writes it into the audit log that a webhook fails or
--                     has recovered
-- Returns:    how many webhooks had traffic.
-- Locks:      rows of webhook_samples, topic_samples and sampled, which only
--             the leader writes.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.sample_traffic(leader text) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET work_mem = '32MB'
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    known    pgtopic.sampled;
    last_id  bigint := pg_sequence_last_value('pgtopic.message_ids');
    apart    bigint := (SELECT s.seqincrement FROM pg_sequence s WHERE s.seqrelid = 'pgtopic.message_ids'::regclass);
    first_id bigint;
    since    timestamptz;
    elapsed  float8;
    every    bigint;
    touched  bigint;
BEGIN
    WITH recent AS MATERIALIZED (
        SELECT a.*, a.at = max(a.at) OVER (PARTITION BY a.worker_id) AND a.at > clock_timestamp() - interval '25 seconds' AS is_newest
          FROM pgtopic.activity a
         WHERE a.seconds = 10 AND a.at >= clock_timestamp() - interval '70 seconds'
    ), latencies AS (
        SELECT b.webhook_id, array_agg(b.number ORDER BY b.bucket) AS latency
          FROM (SELECT r.webhook_id, n.bucket, sum(n.number)::bigint AS number
                  FROM recent r CROSS JOIN LATERAL unnest(r.latency) WITH ORDINALITY n (number, bucket)
                 GROUP BY r.webhook_id, n.bucket) b
         GROUP BY b.webhook_id
    ), traffic AS (
        SELECT r.webhook_id, sum(r.accepted)::bigint AS accepted, sum(r.failed)::bigint AS failed,
               coalesce(sum(r.in_flight) FILTER (WHERE r.is_newest), 0)::bigint AS in_flight,
               max(r.last_success_at) AS last_success_at, max(r.last_failure_at) AS last_failure_at,
               min(r.failing_since) AS failing_since,
               max(r.last_failure_at) FILTER (WHERE r.failing_since IS NOT NULL) AS failing_at,
               (array_agg(ROW (r.last_status_code, r.last_error_class, r.last_error)::pgtopic.last_failure
                          ORDER BY r.last_failure_at DESC) FILTER (WHERE r.last_failure_at IS NOT NULL))[1] AS failure
          FROM recent r
          JOIN pgtopic.webhooks w ON w.id = r.webhook_id
         GROUP BY r.webhook_id
    ), joined AS (
        SELECT t.webhook_id, t.accepted, t.failed, t.in_flight, coalesce(l.latency, '{}') AS latency, t.failure,
               greatest(s.last_success_at, t.last_success_at) AS last_success_at,
               greatest(s.last_failure_at, t.last_failure_at) AS last_failure_at,
               s.failing_since AS failed_since, t.failing_since, t.failing_at
          FROM traffic t
          LEFT JOIN latencies l ON l.webhook_id = t.webhook_id
          LEFT JOIN pgtopic.webhook_samples s ON s.webhook_id = t.webhook_id
    ), judged AS (
        -- A worker may have failed for longer than others succeeded. Then it fails since their last
        -- success.
        SELECT j.*, least(CASE WHEN j.last_success_at IS NULL OR j.failed_since > j.last_success_at THEN j.failed_since END,
                          CASE WHEN j.last_success_at IS NULL OR j.failing_at > j.last_success_at
                               THEN greatest(j.failing_since, j.last_success_at) END) AS fails_since
          FROM joined j
    ), changed AS (
        INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
        SELECT CASE WHEN j.fails_since IS NULL THEN 'webhook.recovered' ELSE 'webhook.failing' END, w.topic_id, w.id,
               CASE WHEN j.fails_since IS NOT NULL THEN (j.failure).last_error END, leader
          FROM judged j
          JOIN pgtopic.webhooks w ON w.id = j.webhook_id
         WHERE (j.fails_since IS NULL) <> (j.failed_since IS NULL)
    ), written AS (
        INSERT INTO pgtopic.webhook_samples AS s (webhook_id, accepted, failed, in_flight, latency, last_success_at, last_failure_at,
                                                  failing_since, last_status_code, last_error_class, last_error)
        SELECT j.webhook_id, j.accepted, j.failed, j.in_flight, j.latency, j.last_success_at, j.last_failure_at, j.fails_since,
               (j.failure).last_status_code, (j.failure).last_error_class, (j.failure).last_error
          FROM judged j
            ON CONFLICT (webhook_id) DO UPDATE
           SET accepted = excluded.accepted, failed = excluded.failed, in_flight = excluded.in_flight, latency = excluded.latency,
               last_success_at = excluded.last_success_at, failing_since = excluded.failing_since,
               (last_status_code, last_error_class, last_error)
                 = (SELECT CASE WHEN later THEN excluded.last_status_code ELSE s.last_status_code END,
                           CASE WHEN later THEN excluded.last_error_class ELSE s.last_error_class END,
                           CASE WHEN later THEN excluded.last_error ELSE s.last_error END
                      FROM (SELECT excluded.last_failure_at IS DISTINCT FROM s.last_failure_at) x (later)),
               last_failure_at = excluded.last_failure_at
    ), over AS (
        UPDATE pgtopic.webhook_samples s
           SET accepted = 0, failed = 0, in_flight = 0, latency = '{}'
         WHERE (s.accepted <> 0 OR s.failed <> 0 OR s.in_flight <> 0) AND NOT EXISTS (SELECT FROM traffic t WHERE t.webhook_id = s.webhook_id)
    )
    SELECT count(*) INTO touched FROM traffic;

    -- What was published: the ids that were given out since about a minute ago.
    SELECT * INTO known FROM pgtopic.sampled;
    first_id := known.given_ids[cardinality(known.given_ids)];
    since := known.given_at[cardinality(known.given_at)];
    elapsed := extract(epoch FROM clock_timestamp() - since);
    UPDATE pgtopic.sampled
       SET given_ids = (ARRAY[coalesce(last_id, 0)] || given_ids)[1:6], given_at = (ARRAY[clock_timestamp()] || given_at)[1:6];
    every := apart * greatest(ceil((last_id - first_id) / apart / 2000.0), 1);
    WITH found AS (
        SELECT m.topic_id, count(*) * (every / apart) / greatest(elapsed, 1) AS per_second
          FROM generate_series(first_id + apart, last_id, every) g (id)
         CROSS JOIN LATERAL (SELECT m.topic_id FROM pgtopic.messages m WHERE m.id = g.id LIMIT 1) m
         GROUP BY m.topic_id
    ), latencies AS (
        SELECT b.topic_id, array_agg(b.number ORDER BY b.bucket) AS latency
          FROM (SELECT w.topic_id, n.bucket, sum(n.number)::bigint AS number
                  FROM pgtopic.webhook_samples s
                  JOIN pgtopic.webhooks w ON w.id = s.webhook_id
                 CROSS JOIN LATERAL unnest(s.latency) WITH ORDINALITY n (number, bucket)
                 WHERE s.latency <> '{}'
                 GROUP BY w.topic_id, n.bucket) b
         GROUP BY b.topic_id
    ), now AS (
        SELECT t.id AS topic_id, coalesce(f.per_second, 0) AS per_second, coalesce(l.latency, '{}') AS latency
          FROM found f
          FULL JOIN latencies l ON l.topic_id = f.topic_id
          JOIN pgtopic.topics t ON t.id = coalesce(f.topic_id, l.topic_id)
    ), over AS (
        DELETE FROM pgtopic.topic_samples s WHERE NOT EXISTS (SELECT FROM now n WHERE n.topic_id = s.topic_id)
    )
    INSERT INTO pgtopic.topic_samples AS s (topic_id, published_per_second, latency)
    SELECT n.topic_id, n.per_second, n.latency FROM now n
        ON CONFLICT (topic_id) DO UPDATE SET published_per_second = excluded.published_per_second, latency = excluded.latency;
    RETURN touched;
END
$$;
