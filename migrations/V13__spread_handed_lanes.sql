-- Among workers that are equally idle, whoever stood first in the table got every lane that was handed over, and held on to it.

CREATE OR REPLACE FUNCTION hand_over(
    message_id    bigint,
    topic_id      bigint,
    lane          bigint,
    partition_key text,
    payload       json,
    headers       json,
    created_at    timestamptz
) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
-- ----------------------------------------------------------------------
-- hand_over: what messages_fan_out does with a single message while workers
-- wait to be notified.
--
-- The lanes that the message begins are made claimed by the worker that has
-- the least to do, one of those at random where several have; lanes that
-- workers hold stay theirs. Each of these workers is told the message. What
-- cannot be told (its lane waits, it is too long for a notification, has
-- headers, or is not among the first few of its transaction) becomes due as
-- always, and everybody is woken.
--
-- The token of a lane that is handed over is the message's id, negative: no
-- claim has such a one, and no other lane of the same webhook.
--
-- Parameters: the message.
-- Locks:      the new rows; the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
#variable_conflict use_variable
DECLARE
    marks  text := coalesce(current_setting('pgtopic.handed_over', true), '');
    notice text;
    taker  workers;
    owed   bigint[];
    begun  bigint[];
    told   bigint;
    holder record;
BEGIN
    -- A notification holds less than 8,000 bytes: some are left for the webhooks. Most of the queue is left to wake-ups, which are
    -- short. Text that cannot be turned into UTF-8 would end the worker's session.
    IF headers IS NULL AND length(marks) < 10 AND octet_length(payload::text) < 6000
        AND pg_notification_queue_usage() < 0.1 AND current_setting('server_encoding') = 'UTF8'
    THEN
        notice := json_build_array(message_id, lane, (extract(epoch FROM created_at) * 1000000)::bigint, partition_key)::text
                  || E'\n' || payload::text;
        IF octet_length(notice) > 6000 THEN
            notice := NULL;
        END IF;
    END IF;
    -- Its row says each second that it lives. One that hangs keeps its lanes for as long as its lease: the fewer come to it the
    -- better. While an old snapshot is held, each of these seconds leaves a version of the row: after a while the search is not worth it.
    IF notice IS NOT NULL AND pg_relation_size('workers') <= 1048576 THEN
        SELECT w.* INTO taker
          FROM workers w
         WHERE w.accepts AND w.channel IS NOT NULL
           AND w.heartbeat_at > clock_timestamp() - interval '1.5 s'
           AND w.heartbeat_at < clock_timestamp() + interval '1.5 s'
         ORDER BY w.in_flight, random()
         LIMIT 1;
    ELSE
        taker := NULL;
    END IF;

    WITH owed AS MATERIALIZED (
        SELECT w.id AS webhook_id,
               w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND row_number() OVER () <= 30 AS open
          FROM webhooks w
         WHERE w.topic_id = hand_over.topic_id
           AND (w.filter IS NULL OR filter_matches(w.filter, hand_over.payload))
    ), fanned AS (
        INSERT INTO deliveries (webhook_id, lane, message_id)
        SELECT o.webhook_id, hand_over.lane, hand_over.message_id FROM owed o
    ), made AS (
        INSERT INTO lanes AS l (webhook_id, lane, partition_key, due_at, position, claimed_by, token)
        SELECT o.webhook_id, hand_over.lane, hand_over.partition_key, clock_timestamp(), hand_over.message_id - 1,
               CASE WHEN o.open THEN taker.id END,
               CASE WHEN o.open AND taker.id IS NOT NULL THEN -hand_over.message_id END
          FROM owed o
        ON CONFLICT DO NOTHING
        RETURNING l.webhook_id, l.claimed_by
    )
    SELECT (SELECT array_agg(o.webhook_id) FROM owed o),
           (SELECT array_agg(m.webhook_id) FROM made m WHERE m.claimed_by IS NOT NULL)
      INTO owed, begun;
    IF owed IS NULL THEN
        RETURN;
    END IF;

    IF begun IS NOT NULL THEN
        PERFORM pg_notify(taker.channel::text, json_build_array(begun, '{}'::json[])::text || E'\n' || notice);
    END IF;
    told := coalesce(cardinality(begun), 0);
    IF told < cardinality(owed) AND notice IS NOT NULL THEN
        -- Lanes that workers hold. What came before the message in its lane and is still owed, and how often the lane was
        -- rewound, tells the holder whether it knows of all that. Whoever adds to a lane or rewinds it holds the stripe, as we do.
        FOR holder IN
            SELECT w.channel, count(*) AS lanes, json_agg(json_build_array(h.webhook_id, l.rewinds, l.previous)) AS held
              FROM unnest(owed) WITH ORDINALITY AS h (webhook_id, n)
             CROSS JOIN LATERAL (
                SELECT x.claimed_by, x.rewinds,
                       (SELECT max(d.message_id) FROM deliveries d
                         WHERE d.webhook_id = h.webhook_id AND d.lane = hand_over.lane
                           AND d.message_id > x.position AND d.message_id < hand_over.message_id) AS previous
                  FROM lanes x
                 WHERE x.webhook_id = h.webhook_id AND x.lane = hand_over.lane
                 LIMIT 1) l
              JOIN workers w ON w.id = l.claimed_by
             WHERE h.n <= 30 AND w.channel IS NOT NULL AND h.webhook_id <> ALL (coalesce(begun, '{}'))
             GROUP BY w.channel
        LOOP
            told := told + holder.lanes;
            PERFORM pg_notify(holder.channel::text,
                              json_build_array('{}'::bigint[], holder.held)::text || E'\n' || notice);
        END LOOP;
    END IF;
    IF told > 0 THEN
        PERFORM set_config('pgtopic.handed_over', marks || '.', true);
    END IF;
    IF told < cardinality(owed) THEN
        PERFORM wake_workers();
    END IF;
END
$$;
