-- Steps of the database's clock: a lane is never due later than its own wait from now.
--
-- Not indexed, and null in a row that is ready: neither a publish nor a claim pays for it.

ALTER TABLE lanes ADD COLUMN wait_seconds double precision;
UPDATE lanes SET wait_seconds = extract(epoch FROM due_at - clock_timestamp())
 WHERE due_at > clock_timestamp() AND due_at < 'infinity' AND claimed_by IS NULL;
COMMENT ON COLUMN lanes.wait_seconds IS 'How long it was to wait when due_at was written; null where it was ready at once. A due_at further ahead than this is from before a step of the clock.';

CREATE FUNCTION correct_due_at(
    after_webhook bigint,
    after_due_at  timestamptz,
    lanes_at_most integer
) RETURNS TABLE (corrected bigint, webhook_id bigint, due_at timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
-- ----------------------------------------------------------------------
-- correct_due_at: bring back what a step of the clock has left in the future.
--
-- due_at is written with the server's clock. Once that has been stepped back
-- by an hour (or a standby whose clock is behind was promoted), a lane that
-- was ready would wait for an hour. The rule: a lane is due at most
-- wait_seconds from now, and one that is ready at once. Where due_at lies
-- further ahead, it is written anew.
--
-- A look at some of the lanes that are due later, by webhook and due_at; the
-- caller looks on where it ended. In the index there is nothing else behind
-- the present, halted lanes aside, so without lanes that wait it is one probe
-- a webhook.
--
-- Parameters: after_webhook, after_due_at  where the last look ended; 0 and
--                                          -infinity begin anew
--             lanes_at_most                how many to look at
-- Returns:    one row: how many were corrected, and where the look ended; null
--             where it came to the end.
-- Locks:      the lanes it corrects, SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM require_read_committed();
    END IF;
    RETURN QUERY
    WITH ahead AS MATERIALIZED (
        SELECT l.at, l.webhook_id, l.due_at, l.wait_seconds
          FROM webhooks w
         CROSS JOIN LATERAL (
            SELECT l.ctid AS at, l.webhook_id, l.due_at, l.wait_seconds
              FROM lanes l
             WHERE l.webhook_id + 0 = w.id
               AND l.due_at > greatest(CASE WHEN w.id = after_webhook THEN after_due_at END,
                                       statement_timestamp() + interval '0.1 s')
               AND l.due_at < 'infinity'
               AND l.claimed_by IS NULL
             ORDER BY l.due_at
             LIMIT lanes_at_most
         ) l
         WHERE w.id >= after_webhook
         ORDER BY w.id
         LIMIT lanes_at_most
    ), wrong AS MATERIALIZED (
        SELECT a.at FROM ahead a
         WHERE a.due_at > clock_timestamp() + make_interval(secs => coalesce(a.wait_seconds, 0) + 0.1)
    ), changed AS (
        -- By the rows' places: a join made for a small table would go through all lanes for each of many. A row that
        -- was written since is in another place, and left alone.
        UPDATE lanes l
           SET due_at = clock_timestamp() + make_interval(secs => coalesce(l.wait_seconds, 0))
         WHERE l.ctid = ANY (ARRAY(
            SELECT free.at
              FROM wrong
             CROSS JOIN LATERAL (
                SELECT l.ctid AS at FROM lanes l WHERE l.ctid = wrong.at FOR UPDATE SKIP LOCKED
             ) free))
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM changed), a.webhook_id, a.due_at
      FROM (SELECT) one
      LEFT JOIN LATERAL (
        SELECT a.webhook_id, a.due_at FROM ahead a OFFSET lanes_at_most - 1 LIMIT 1
      ) a ON true;
END
$$;

CREATE OR REPLACE FUNCTION settle(
    worker          uuid,
    done_webhooks   bigint[], done_lanes bigint[], done_tokens bigint[], done_messages bigint[],
    dead_webhooks   bigint[], dead_lanes bigint[], dead_tokens bigint[], dead_messages bigint[],
    dead_reasons    text[], dead_attempts integer[], dead_errors text[],
    lane_webhooks   bigint[], lane_lanes bigint[], lane_tokens bigint[], lane_rewinds integer[],
    lane_positions  bigint[], lane_states text[], lane_delays double precision[], lane_failures integer[], lane_errors text[]
) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
-- ----------------------------------------------------------------------
-- settle: write what became of requests, for many lanes at once.
--
-- Every part is guarded by the lane's (claimed_by, token): what belongs to a
-- lane that was released or taken over meanwhile is left alone.
--
-- Parameters (arrays in primary-key order):
--   done_*  deliveries that were accepted
--   dead_*  deliveries that move to the dead letters
--   lane_*  lanes whose row changes. state: 'held' (only failures and
--           position), 'ready' (released), 'waiting' (released, due after
--           delay seconds), 'halted' (released, never due)
--
-- position moves only if no replay has rewound the lane since lane_rewinds.
-- due_at of a held lane stays as it is, so that no index entry is written.
--
-- Locks: the rows it writes. No flush: a lost settle means a redelivery.
-- ----------------------------------------------------------------------
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM require_read_committed();
    END IF;

    IF cardinality(done_messages) > 0 THEN
        -- By their places: a delivery is never changed, only deleted.
        DELETE FROM deliveries d
         WHERE d.ctid = ANY (ARRAY(
            SELECT x.place
              FROM unnest(done_webhooks, done_lanes, done_tokens, done_messages)
                   AS done (webhook_id, lane, token, message_id)
             CROSS JOIN LATERAL (
                SELECT x.ctid AS place
                  FROM deliveries x
                 WHERE x.webhook_id = done.webhook_id AND x.lane = done.lane AND x.message_id = done.message_id
                 LIMIT 1) x
             WHERE (SELECT true FROM lanes l
                     WHERE l.webhook_id = done.webhook_id AND l.lane = done.lane
                       AND l.claimed_by = settle.worker AND l.token = done.token
                     LIMIT 1)));
    END IF;

    IF cardinality(dead_messages) > 0 THEN
        WITH died AS (
            DELETE FROM deliveries d
             USING unnest(dead_webhooks, dead_lanes, dead_tokens, dead_messages, dead_reasons, dead_attempts, dead_errors)
                   AS dead (webhook_id, lane, token, message_id, reason, attempts, last_error)
             WHERE d.webhook_id = dead.webhook_id AND d.lane = dead.lane AND d.message_id = dead.message_id
               AND EXISTS (SELECT FROM lanes l
                            WHERE l.webhook_id = dead.webhook_id AND l.lane = dead.lane
                              AND l.claimed_by = settle.worker AND l.token = dead.token)
            RETURNING d.webhook_id, d.lane, d.message_id, dead.reason, dead.attempts, dead.last_error
        )
        INSERT INTO dead_letters (webhook_id, lane, message_id, reason, attempts, last_error)
        SELECT died.webhook_id, died.lane, died.message_id, died.reason, died.attempts, died.last_error
          FROM died
        ON CONFLICT ON CONSTRAINT dead_letters_delivery_key DO UPDATE
           SET reason = excluded.reason, attempts = excluded.attempts, last_error = excluded.last_error, created_at = now();
    END IF;

    IF cardinality(lane_lanes) > 0 THEN
        UPDATE lanes l
           SET position = CASE WHEN l.rewinds = new.rewinds THEN greatest(l.position, new.position) ELSE l.position END,
               due_at = CASE new.state WHEN 'held' THEN l.due_at
                                       WHEN 'halted' THEN 'infinity'
                                       WHEN 'waiting' THEN clock_timestamp() + make_interval(secs => new.delay)
                                       ELSE clock_timestamp() END,
               wait_seconds = CASE new.state WHEN 'waiting' THEN new.delay END,
               claimed_by = CASE new.state WHEN 'held' THEN l.claimed_by END,
               token = CASE new.state WHEN 'held' THEN l.token END,
               failures = new.failures,
               last_error = CASE WHEN new.failures > 0 THEN coalesce(new.last_error, l.last_error) END,
               halted = new.state = 'halted'
          FROM unnest(lane_webhooks, lane_lanes, lane_tokens, lane_rewinds, lane_positions, lane_states, lane_delays,
                      lane_failures, lane_errors)
               AS new (webhook_id, lane, token, rewinds, position, state, delay, failures, last_error)
         WHERE l.webhook_id = new.webhook_id AND l.lane = new.lane
           AND l.claimed_by = settle.worker AND l.token = new.token;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION release_worker(gone uuid) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET jit = off
AS $$
-- ----------------------------------------------------------------------
-- release_worker: strike a worker off and make its lanes ready.
--
-- The caller has made sure that the worker sends nothing any more.
--
-- Returns: how many lanes it held; null where somebody else was faster.
-- Locks:   the worker's row first, which waits for a claim still under way
--          in one of its sessions and fails every later one; then its lanes.
-- ----------------------------------------------------------------------
DECLARE
    released bigint;
BEGIN
    DELETE FROM workers w WHERE w.id = gone;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- A new statement: it sees what that claim has committed.
    UPDATE lanes l SET claimed_by = NULL, token = NULL, due_at = clock_timestamp(), wait_seconds = NULL
     WHERE l.claimed_by = gone;
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$$;
