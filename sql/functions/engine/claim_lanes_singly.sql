-- ----------------------------------------------------------------------
-- claim_lanes_singly: claim_lanes, but lane by lane and without reading. It is
-- used where claim_lanes fails, perhaps because of one lane.
--
-- A lane that cannot be claimed stays as it is, and does not keep others from
-- being claimed. Up to 100 such lanes of each webhook are passed over.
--
-- Parameters: as claim_lanes.
-- Returns:    as read_claimed, without messages.
-- Raises:     as require_registered.
-- Locks:      as claim_lanes; also lanes that are passed over.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.claim_lanes_singly(
    worker      uuid,
    new_token   bigint,
    webhook_ids bigint[],
    slots       integer[],
    due_after   timestamptz[],
    sweep       boolean
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
    places   tid[];
    before   integer;
    one      pgtopic.lanes;
    claimed  pgtopic.lanes[] := '{}';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);

    FOR want IN 1 .. cardinality(claim_lanes_singly.webhook_ids) LOOP
        before := cardinality(claimed);
        places := ARRAY(
            SELECT l.ctid
              FROM pgtopic.lanes l
              JOIN pgtopic.webhooks w ON w.id = claim_lanes_singly.webhook_ids[want]
               AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND NOT pgtopic.is_held(w.hold_until)
              JOIN pgtopic.topics t ON t.id = w.topic_id AND t.paused IS DISTINCT FROM 'hold'
             WHERE l.webhook_id + 0 = claim_lanes_singly.webhook_ids[want]
               AND l.due_at >= coalesce(claim_lanes_singly.due_after[want], statement_timestamp() - interval '5 s')
               AND l.due_at <= statement_timestamp()
               AND (l.claimed_by IS NULL
                    OR claim_lanes_singly.sweep
                       AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
             ORDER BY l.due_at
             LIMIT claim_lanes_singly.slots[want] + 100);
        FOR at IN 1 .. cardinality(places) LOOP
            EXIT WHEN cardinality(claimed) >= before + claim_lanes_singly.slots[want];
            BEGIN
                -- If the row changes before it is locked, it gets another place, and the update
                -- does not find it. Its old place may belong to another lane by then, even to one
                -- that waits or is halted. So all conditions are checked again.
                PERFORM FROM pgtopic.lanes l WHERE l.ctid = places[at] AND l.webhook_id = claim_lanes_singly.webhook_ids[want]
                    AND l.due_at <= statement_timestamp()
                    AND (l.claimed_by IS NULL
                         OR claim_lanes_singly.sweep
                            AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
                    FOR UPDATE SKIP LOCKED;
                CONTINUE WHEN NOT FOUND;
                UPDATE pgtopic.lanes l
                   SET claimed_by = claim_lanes_singly.worker, token = claim_lanes_singly.new_token, claimed_at = clock_timestamp()
                 WHERE l.ctid = places[at]
                RETURNING l.* INTO one;
                CONTINUE WHEN NOT FOUND;
                claimed := claimed || one;
            EXCEPTION WHEN OTHERS THEN
                -- This lane alone stays as it is.
                NULL;
            END;
        END LOOP;
    END LOOP;
    RETURN QUERY SELECT r.* FROM pgtopic.read_claimed(claimed, 0, 0) r;
END
$$;
