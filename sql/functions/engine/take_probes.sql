-- ----------------------------------------------------------------------
-- take_probes: take the turn to probe webhooks whose breakers are open, and
-- claim a lane of each of them.
--
-- Over all workers there is one probe of a webhook at a time. A turn ends with
-- end_probe or close_breaker, when its worker is gone, or at probe_until. The
-- worker starts no request that might last longer than that.
--
-- Probes take the lanes of a webhook in turns, by rising id, whether they are
-- due or not. Lanes that are halted, or owe nothing, or that workers hold, are
-- passed over: at most 1,000 of them. A webhook without a lane to probe is looked
-- at again a second later.
--
-- Parameters:
--   worker, new_token   as claim_lanes
--   at_most             how many webhooks
--   topics              as claim_messages
--   default_timeout     the timeout of a webhook that sets none, in seconds
--   spare               how many seconds a turn lasts longer than two timeouts
--   messages_per_lane, payload_budget   as read_claimed
--
-- Returns: as read_claimed, and with each row: the epoch; how many probes have
--          failed since the breaker opened; for how many seconds it has been
--          open; whether no other lane of the webhook owes anything and is not
--          halted (among the first 1,000); and for how many seconds the turn lasts.
-- Raises:  as require_registered.
-- Locks:   as require_registered; the breakers and the lanes, SKIP LOCKED.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.take_probes(
    worker            uuid,
    new_token         bigint,
    at_most           integer,
    topics            text[],
    default_timeout   double precision,
    spare             double precision,
    messages_per_lane integer,
    payload_budget    bigint
) RETURNS TABLE (
    webhook_id bigint, lane bigint, due_at timestamptz, "position" bigint, generation integer, head_message_id bigint,
    failures integer, batch_last bigint, batch_count integer, split_until bigint, message_id bigint,
    partition_key text, type text, payload json, headers json, created_at timestamptz, replayed_at timestamptz, state text,
    age double precision, epoch bigint, probes integer, open_seconds double precision, only_lane boolean, turn_seconds double precision
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    probe    record;
    after    bigint;
    until    bigint;
    one      pgtopic.lanes;
    claimed  pgtopic.lanes[] := '{}';
    alone    bigint[] := '{}';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);

    FOR probe IN
        SELECT b.webhook_id, b.probe_lane, 2 * coalesce(w.timeout_seconds, default_timeout) + spare AS turn
          FROM pgtopic.breakers b
          JOIN pgtopic.webhooks w ON w.id = b.webhook_id AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL
           AND NOT pgtopic.is_held(w.hold_until)
          JOIN pgtopic.topics t ON t.id = w.topic_id AND t.paused IS DISTINCT FROM 'hold'
           AND (take_probes.topics IS NULL OR t.name LIKE ANY (take_probes.topics))
         WHERE b.state = 'open'
           -- What lies further ahead was written before a step of the clock.
           AND (b.next_probe_at <= clock_timestamp() OR b.next_probe_at > clock_timestamp() + interval '2 minutes')
           AND (b.probe_until IS NULL OR b.probe_until <= clock_timestamp()
                OR NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = b.probe_by AND NOT o.gone))
         ORDER BY b.next_probe_at
         LIMIT at_most
           FOR UPDATE OF b SKIP LOCKED
    LOOP
        one := NULL;
        after := probe.probe_lane;
        LOOP
            until := (SELECT l.lane FROM pgtopic.lanes l
                       WHERE l.webhook_id = probe.webhook_id AND l.lane > after
                       ORDER BY l.lane OFFSET 999 LIMIT 1);
            UPDATE pgtopic.lanes l
               SET claimed_by = take_probes.worker, token = take_probes.new_token, claimed_at = clock_timestamp()
             WHERE l.ctid = ANY (ARRAY(
                SELECT x.ctid
                  FROM pgtopic.lanes x
                 WHERE x.webhook_id = probe.webhook_id AND x.lane > after AND x.lane <= coalesce(until, 9223372036854775807)
                   AND x.claimed_by IS NULL AND NOT x.halted
                   AND EXISTS (SELECT FROM pgtopic.deliveries d
                                WHERE d.webhook_id = x.webhook_id AND d.lane = x.lane AND d.message_id > x.position)
                 ORDER BY x.lane
                 LIMIT 1
                   FOR UPDATE SKIP LOCKED))
            RETURNING l.* INTO one;
            EXIT WHEN one.lane IS NOT NULL OR until IS NOT NULL OR after = -9223372036854775808;
            -- All lanes have had their turn: begin again.
            after := -9223372036854775808;
        END LOOP;
        IF one.lane IS NULL THEN
            UPDATE pgtopic.breakers b
               SET probe_by = NULL, probe_token = NULL, probe_until = NULL, next_probe_at = clock_timestamp() + interval '1 second',
                   probe_lane = coalesce(until, -9223372036854775808)
             WHERE b.webhook_id = probe.webhook_id;
            CONTINUE;
        END IF;
        UPDATE pgtopic.breakers b
           SET probe_by = take_probes.worker, probe_token = take_probes.new_token, probe_lane = one.lane,
               probe_until = clock_timestamp() + make_interval(secs => probe.turn)
         WHERE b.webhook_id = probe.webhook_id;
        claimed := claimed || one;
        IF NOT EXISTS (SELECT FROM (SELECT l.* FROM pgtopic.lanes l
                                     WHERE l.webhook_id = probe.webhook_id
                                     ORDER BY l.lane LIMIT 1000) other
                        WHERE NOT other.halted AND other.lane <> one.lane
                          AND EXISTS (SELECT FROM pgtopic.deliveries d
                                       WHERE d.webhook_id = other.webhook_id AND d.lane = other.lane
                                         AND d.message_id > other.position))
        THEN
            alone := alone || probe.webhook_id;
        END IF;
    END LOOP;

    RETURN QUERY
    SELECT r.*, b.epoch, b.probes, extract(epoch FROM clock_timestamp() - b.opened_at)::double precision,
           r.webhook_id = ANY (alone), extract(epoch FROM b.probe_until - clock_timestamp())::double precision
      FROM pgtopic.read_claimed(claimed, messages_per_lane, payload_budget) r
     CROSS JOIN LATERAL (SELECT b.* FROM pgtopic.breakers b WHERE b.webhook_id = r.webhook_id LIMIT 1) b;
END
$$;
