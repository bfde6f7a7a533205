-- ----------------------------------------------------------------------
-- claim_messages: claim the lanes of messages that notifications have named,
-- and read them. Also read those of the messages that belong to lanes which the
-- worker holds already.
--
-- A notification is a hint. Nothing is returned for a message that does not
-- exist, or whose lanes wait, are halted or are held by others.
--
-- Parameters:
--   worker, new_token    as claim_lanes
--   message_ids          the messages
--   full_webhooks        webhooks without room for another lane
--   topics               the names of the topics to claim of, as patterns for LIKE;
--                        null: all
--   lanes_at_most        how many lanes to claim at most
--   messages_per_lane, payload_budget   as read_claimed
--
-- Returns: for lanes that were claimed, as read_claimed. For each message of a
--          lane that the worker held before: the lane's token; state 'held', or
--          'deferred' if the budget is used up (then payload and headers are
--          null); and in position the last message before it that the lane
--          owes, or the lane's position if there is none.
-- Raises:  as require_registered.
-- Locks:   as require_registered; the lanes FOR UPDATE SKIP LOCKED.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.claim_messages(
    worker            uuid,
    new_token         bigint,
    message_ids       bigint[],
    full_webhooks     bigint[],
    topics            text[],
    lanes_at_most     integer,
    messages_per_lane integer,
    payload_budget    bigint
) RETURNS TABLE (
    webhook_id bigint, lane bigint, due_at timestamptz, token bigint, "position" bigint, generation integer,
    head_message_id bigint, failures integer, batch_last bigint, batch_count integer, split_until bigint, message_id bigint,
    partition_key text, type text, payload json, headers json, created_at timestamptz, replayed_at timestamptz, state text,
    age double precision
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    claimed  pgtopic.lanes[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);

    -- As in claim_lanes.
    WITH due AS MATERIALIZED (
        SELECT l.place
          FROM unnest(claim_messages.message_ids) AS told (id)
         CROSS JOIN LATERAL (
            SELECT m.topic_id, m.lane
              FROM pgtopic.messages m
              JOIN pgtopic.topics t ON t.id = m.topic_id AND t.paused IS DISTINCT FROM 'hold'
               AND (claim_messages.topics IS NULL OR t.name LIKE ANY (claim_messages.topics))
             WHERE m.id = told.id
             LIMIT 1
         ) m
         CROSS JOIN LATERAL (
            SELECT w.id
              FROM pgtopic.webhooks w
             WHERE w.topic_id = m.topic_id AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL
               AND NOT pgtopic.is_held(w.hold_until)
               AND w.id <> ALL (claim_messages.full_webhooks)
            OFFSET 0
         ) w
         CROSS JOIN LATERAL (
            SELECT l.ctid AS place
              FROM pgtopic.lanes l
             WHERE l.webhook_id = w.id AND l.lane = m.lane
               AND l.due_at <= statement_timestamp() AND l.claimed_by IS NULL
             LIMIT 1
               FOR UPDATE SKIP LOCKED
         ) l
         LIMIT claim_messages.lanes_at_most
    ), taken AS (
        UPDATE pgtopic.lanes l
           SET claimed_by = claim_messages.worker, token = claim_messages.new_token, claimed_at = clock_timestamp()
         WHERE l.ctid = ANY (ARRAY(SELECT due.place FROM due))
        RETURNING l
    )
    SELECT array_agg(t.l) INTO claimed FROM taken t;
    IF claimed IS NOT NULL THEN
        RETURN QUERY
        SELECT r.webhook_id, r.lane, r.due_at, claim_messages.new_token, r.position, r.generation, r.head_message_id, r.failures,
               r.batch_last, r.batch_count, r.split_until, r.message_id, r.partition_key, r.type, r.payload, r.headers,
               r.created_at, r.replayed_at, r.state, r.age
          FROM pgtopic.read_claimed(claimed, messages_per_lane, payload_budget) r;
    END IF;
    RETURN QUERY
    SELECT l.webhook_id, l.lane, l.due_at, l.token,
           coalesce((SELECT max(d.message_id) FROM pgtopic.deliveries d
                      WHERE d.webhook_id = l.webhook_id AND d.lane = l.lane
                        AND d.message_id > l.position AND d.message_id < m.id), l.position),
           l.generation, NULL::bigint, 0, NULL::bigint, NULL::integer, NULL::bigint, m.id, m.partition_key, m.type,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.payload END,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.headers END,
           m.created_at, owed.replayed_at,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN 'held' ELSE 'deferred' END,
           date_part('epoch', clock_timestamp()) - date_part('epoch', greatest(m.created_at, m.published_at))
      FROM unnest(claim_messages.message_ids) AS told (id)
     CROSS JOIN LATERAL (SELECT m.* FROM pgtopic.messages m WHERE m.id = told.id LIMIT 1) m
     CROSS JOIN LATERAL (SELECT w.id FROM pgtopic.webhooks w WHERE w.topic_id = m.topic_id OFFSET 0) w
     CROSS JOIN LATERAL (
        SELECT x.*
          FROM pgtopic.lanes x
         WHERE x.webhook_id = w.id AND x.lane = m.lane
           AND x.claimed_by = claim_messages.worker AND x.token <> claim_messages.new_token
         LIMIT 1) l
     CROSS JOIN LATERAL (
        SELECT d.replayed_at
          FROM pgtopic.deliveries d
         WHERE d.webhook_id = w.id AND d.lane = m.lane AND d.message_id = m.id
         LIMIT 1) owed
    WINDOW read AS (ROWS UNBOUNDED PRECEDING);
END
$$;
