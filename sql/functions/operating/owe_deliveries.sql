-- ----------------------------------------------------------------------
-- owe_deliveries: have webhooks owe some messages (again).
--
-- Each lane gets a row, or its position is lowered, and its generation rises: a
-- worker that holds the lane reads it anew. A lane that waits becomes due if
-- one of its messages comes before what it waits for, or is a new member of the
-- batch that it waits for. A halted lane stays halted. If a message is a dead
-- letter of the webhook, that is deleted. A message that is owed again has all
-- its attempts: failures that the lane's row still tells of are deleted.
--
-- If a row that is needed is locked, its message is left, with all that follow
-- in its lane. If a stripe is taken, all lanes of that stripe are left. So each
-- lane gets its messages in rising order.
--
-- Parameters:
--   asked      deliveries in primary-key order, each once; at most 10,000. With
--              replayed_at null it is no replay: the webhook is starting.
--   only_dead  whether only messages that are dead letters are meant
--   waits      as lock_lane: true for one delivery only
--
-- Returns: an outcome for each of asked, in the same order: 'owed';
--          'already_owed'; 'message_gone': the message was deleted;
--          'webhook_gone'; 'absent': it is no dead letter (any more);
--          'stripe_taken'; 'row_locked'. Only 'owed' has changed anything.
-- Raises:  as lock_lane.
-- Locks:   the stripes (tried), the lanes in primary-key order, the messages FOR
--          KEY SHARE, the dead letters (all SKIP LOCKED); the new rows. Notifies,
--          if it is a replay.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.owe_deliveries(asked pgtopic.deliveries[], only_dead boolean, waits boolean) RETURNS text[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    waited   text;
    free     integer[];
    -- What keeps each of asked from being owed; null: nothing.
    refusals text[];
    outcomes text[];
BEGIN
    IF waits THEN
        SELECT k.outcome INTO waited
          FROM unnest(asked) d
         CROSS JOIN LATERAL pgtopic.lane_stripe(d.webhook_id, d.lane) s
         CROSS JOIN LATERAL pgtopic.lock_lane(d.webhook_id, d.lane, s.stripe, true) k;
        IF waited <> 'locked' THEN
            RETURN ARRAY[waited];
        END IF;
    END IF;
    SELECT coalesce(array_agg(s.stripe), '{}') INTO free
      FROM (SELECT DISTINCT s.stripe FROM unnest(asked) d CROSS JOIN LATERAL pgtopic.lane_stripe(d.webhook_id, d.lane) s) s
     WHERE pg_try_advisory_xact_lock(pgtopic.stripe_class(), s.stripe);

    -- New statements see what the last holders of the stripes have committed.
    WITH tried AS MATERIALIZED (
        SELECT d.webhook_id, d.lane, d.message_id,
               row_number() OVER (PARTITION BY d.webhook_id, d.lane ORDER BY d.message_id) = 1 AS is_first,
               CASE WHEN s.topic_id IS NULL THEN 'webhook_gone'
                    -- Nothing differs from all of none, not even null.
                    WHEN s.stripe IS NOT NULL AND s.stripe <> ALL (free) THEN 'stripe_taken' END AS refusal
          FROM unnest(asked) d
          LEFT JOIN LATERAL pgtopic.lane_stripe(d.webhook_id, d.lane) s ON true
    ), locked AS MATERIALIZED (
        SELECT t.webhook_id, t.lane, t.message_id,
               CASE WHEN t.refusal IS NOT NULL THEN t.refusal
                    WHEN t.is_first AND l.held IS NULL AND (SELECT true FROM pgtopic.lanes l
                                                             WHERE l.webhook_id = t.webhook_id AND l.lane = t.lane
                                                             LIMIT 1) THEN 'row_locked'
                    WHEN x.held IS NULL AND (SELECT true FROM pgtopic.dead_letters x
                                              WHERE x.webhook_id = t.webhook_id AND x.message_id = t.message_id
                                              LIMIT 1) THEN 'row_locked'
                    WHEN x.held IS NULL AND only_dead THEN 'absent'
                    WHEN m.held THEN NULL
                    WHEN (SELECT true FROM pgtopic.messages m WHERE m.id = t.message_id LIMIT 1) THEN 'row_locked'
                    ELSE 'message_gone' END AS refusal
          FROM tried t
          LEFT JOIN LATERAL (SELECT true AS held FROM pgtopic.lanes l
                              WHERE t.is_first AND t.refusal IS NULL AND l.webhook_id = t.webhook_id AND l.lane = t.lane
                              LIMIT 1 FOR UPDATE SKIP LOCKED) l ON true
          LEFT JOIN LATERAL (SELECT true AS held FROM pgtopic.dead_letters x
                              WHERE t.refusal IS NULL AND x.webhook_id = t.webhook_id AND x.message_id = t.message_id
                              LIMIT 1 FOR UPDATE SKIP LOCKED) x ON true
          LEFT JOIN LATERAL (SELECT true AS held FROM pgtopic.messages m
                              WHERE t.refusal IS NULL AND m.id = t.message_id
                              LIMIT 1 FOR KEY SHARE SKIP LOCKED) m ON true
    )
    SELECT array_agg(CASE WHEN o.follows THEN 'row_locked' ELSE o.refusal END ORDER BY o.webhook_id, o.lane, o.message_id)
      INTO refusals
      FROM (SELECT k.webhook_id, k.lane, k.message_id, k.refusal,
                   bool_or(k.refusal IS NOT DISTINCT FROM 'row_locked')
                       OVER (PARTITION BY k.webhook_id, k.lane ORDER BY k.message_id) AS follows
              FROM locked k) o;

    WITH allowed AS MATERIALIZED (
        SELECT a.webhook_id, a.lane, a.message_id, a.replayed_at, a.refusal
          FROM unnest(asked, refusals) AS a (webhook_id, lane, message_id, replayed_at, refusal)
    ), owed AS (
        INSERT INTO pgtopic.deliveries AS d (webhook_id, lane, message_id, replayed_at)
        SELECT a.webhook_id, a.lane, a.message_id, a.replayed_at
          FROM allowed a
         WHERE a.refusal IS NULL
         ORDER BY a.webhook_id, a.lane, a.message_id
            ON CONFLICT DO NOTHING
        RETURNING d.webhook_id, d.lane, d.message_id
    ), replaced AS (
        DELETE FROM pgtopic.dead_letters x
         WHERE x.ctid = ANY (ARRAY(
            SELECT x.place
              FROM owed o
             CROSS JOIN LATERAL (SELECT x.ctid AS place FROM pgtopic.dead_letters x
                                  WHERE x.webhook_id = o.webhook_id AND x.message_id = o.message_id LIMIT 1) x))
    ), lanes AS (
        INSERT INTO pgtopic.lanes AS l (webhook_id, lane, stripe, partition_key, due_at, position)
        SELECT o.webhook_id, o.lane, s.stripe, m.partition_key, clock_timestamp(), o.first_id - 1
          FROM (SELECT o.webhook_id, o.lane, min(o.message_id) AS first_id
                  FROM owed o
                 GROUP BY o.webhook_id, o.lane
                 ORDER BY o.webhook_id, o.lane) o
         CROSS JOIN LATERAL (SELECT m.partition_key FROM pgtopic.messages m WHERE m.id = o.first_id LIMIT 1) m
         CROSS JOIN LATERAL pgtopic.lane_stripe(o.webhook_id, o.lane) s
            ON CONFLICT ON CONSTRAINT lanes_pkey DO UPDATE
           SET position = least(l.position, excluded.position),
               generation = l.generation + 1,
               due_at = CASE WHEN l.claimed_by IS NULL AND NOT l.halted
                                  AND excluded.position < coalesce(l.batch_last, l.head_message_id, excluded.position + 1)
                             THEN least(l.due_at, excluded.due_at) ELSE l.due_at END,
               wait_seconds = CASE WHEN l.claimed_by IS NULL AND NOT l.halted
                                        AND excluded.position < coalesce(l.batch_last, l.head_message_id, excluded.position + 1)
                                   THEN NULL ELSE l.wait_seconds END
    )
    SELECT array_agg(e.outcome ORDER BY e.webhook_id, e.lane, e.message_id) INTO outcomes
      FROM (SELECT a.webhook_id, a.lane, a.message_id, a.refusal AS outcome FROM allowed a WHERE a.refusal IS NOT NULL
             UNION ALL
            SELECT o.webhook_id, o.lane, o.message_id, 'owed' FROM owed o
             UNION ALL
            SELECT c.webhook_id, c.lane, c.message_id, 'already_owed'
              FROM (SELECT a.webhook_id, a.lane, a.message_id FROM allowed a WHERE a.refusal IS NULL
                    EXCEPT SELECT o.webhook_id, o.lane, o.message_id FROM owed o) c) e;
    -- A row may go on telling of a message that has left the lane since it failed.
    UPDATE pgtopic.lanes l
       SET failures = 0, head_message_id = NULL, batch_last = NULL, batch_count = NULL,
           last_error = NULL, last_error_class = NULL, last_status_code = NULL
     WHERE l.ctid = ANY (ARRAY(
        SELECT x.place
          FROM unnest(asked, outcomes) AS a (webhook_id, lane, message_id, replayed_at, outcome)
         CROSS JOIN LATERAL (
            SELECT x.ctid AS place
              FROM pgtopic.lanes x
             WHERE x.webhook_id = a.webhook_id AND x.lane = a.lane AND NOT x.halted
               AND a.message_id BETWEEN x.head_message_id AND coalesce(x.batch_last, x.head_message_id)
             LIMIT 1) x
         WHERE a.outcome = 'owed'));
    -- A transaction sends no more notifications than these.
    PERFORM pgtopic.notify_workers(d.message_id, s.stripe)
       FROM (SELECT a.webhook_id, a.lane, a.message_id
               FROM unnest(asked, outcomes) AS a (webhook_id, lane, message_id, replayed_at, outcome)
              WHERE a.outcome = 'owed' AND a.replayed_at IS NOT NULL
              LIMIT 11) d
      CROSS JOIN LATERAL pgtopic.lane_stripe(d.webhook_id, d.lane) s;
    RETURN coalesce(outcomes, '{}');
END
$$;
