-- ----------------------------------------------------------------------
-- claim_lanes: claim the earliest due lanes of each webhook, and read them.
--
-- A claim leaves due_at as it is. So no index entry is written, and none is
-- left behind that later looks must walk over.
--
-- Each webhook is looked at by itself. So a webhook with thousands of due lanes
-- does not slow the others down.
--
-- Parameters:
--   worker             the claiming incarnation
--   new_token          a value of its counter, never used before
--   webhook_ids        webhooks with room, and beside each:
--   slots                how many lanes to claim at most
--   due_after            where to begin; null: 5 seconds back
--   sweep              whether to claim also lanes whose holder is gone or not
--                      registered
--   messages_per_lane, payload_budget   as read_claimed; with 0 messages the
--                                       claim reads nothing
--
-- Returns: as read_claimed.
-- Raises:  as require_registered.
-- Locks:   as require_registered; the lanes FOR UPDATE SKIP LOCKED.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.claim_lanes(
    worker            uuid,
    new_token         bigint,
    webhook_ids       bigint[],
    slots             integer[],
    due_after         timestamptz[],
    sweep             boolean,
    messages_per_lane integer,
    payload_budget    bigint
) RETURNS TABLE (
    webhook_id bigint, lane bigint, due_at timestamptz, "position" bigint, generation integer, head_message_id bigint,
    failures integer, batch_last bigint, batch_count integer, split_until bigint, message_id bigint,
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

    -- The CTE is a fence. If it were joined directly, the update might change more lanes than the
    -- LIMIT allows. A lane that was changed just before it was locked is left to the next look: its
    -- new place is not in this snapshot. So a sweep takes no lane from a worker that has just
    -- registered: its claims are newer than this snapshot.
    WITH due AS MATERIALIZED (
        SELECT l.place
          FROM unnest(claim_lanes.webhook_ids, claim_lanes.slots, claim_lanes.due_after)
               AS want (webhook_id, slots, due_after)
          JOIN pgtopic.webhooks w ON w.id = want.webhook_id
           AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND NOT pgtopic.is_held(w.hold_until)
          JOIN pgtopic.topics t ON t.id = w.topic_id AND t.paused IS DISTINCT FROM 'hold'
         CROSS JOIN LATERAL (
            SELECT l.ctid AS place
              FROM pgtopic.lanes l
             WHERE l.webhook_id + 0 = want.webhook_id
               AND l.due_at >= coalesce(want.due_after, statement_timestamp() - interval '5 s')
               AND l.due_at <= statement_timestamp()
               AND (l.claimed_by IS NULL
                    OR claim_lanes.sweep
                       AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
             ORDER BY l.due_at
             LIMIT want.slots
               FOR UPDATE SKIP LOCKED
         ) l
    ), taken AS (
        UPDATE pgtopic.lanes l
           SET claimed_by = claim_lanes.worker, token = claim_lanes.new_token, claimed_at = clock_timestamp()
         WHERE l.ctid = ANY (ARRAY(SELECT due.place FROM due))
        RETURNING l
    )
    SELECT array_agg(t.l) INTO claimed FROM taken t;
    IF claimed IS NULL THEN
        RETURN;
    END IF;

    -- A new statement has a new snapshot. If a replay has lowered a position that the update
    -- returned, this statement sees what the replay has added.
    RETURN QUERY SELECT r.* FROM pgtopic.read_claimed(claimed, messages_per_lane, payload_budget) r;
END
$$;
