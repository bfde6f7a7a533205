-- ----------------------------------------------------------------------
-- settle: write what became of requests, for many lanes at once.
--
-- The lanes are locked first, in primary-key order. Lanes that somebody else
-- has locked are left out. Every write is guarded by the lane's (claimed_by,
-- token): nothing is written for a lane that was released or taken over
-- meanwhile. Any other wait for a lock ends after 100 ms and fails the call.
-- Then the caller tries again with fewer lanes.
--
-- Parameters:
--   lane_*  all lanes of this call, in primary-key order. state is 'untouched'
--           (the row stays as it is), 'held' (failures and position are
--           written), 'ready' (released), 'waiting' (released, due after delay
--           seconds) or 'halted' (released, never due). head is the message
--           that failures, error and the wait belong to; error comes
--           with its class and its status code; batch_last and
--           batch_count tell the batch that failed; split is split_until;
--           epoch is that of the webhook's breaker when the request began that
--           has failed; null: none has, or it was a probe
--   done_*  deliveries that were accepted; done_lanes are numbers of the lanes
--           above, from 1
--   dead_*  deliveries that become dead letters; dead_lanes likewise
--
-- position is written only if no replay has raised the lane's generation. If
-- one has, a wait or a halt is written only if head is still the first message
-- that the lane owes; otherwise the lane becomes ready. due_at of a held lane
-- stays as it is, so that no index entry is written. Each lane that halts is a
-- row of changes, if that can be written.
--
-- If the webhook's breaker has opened or closed since a request began, its
-- failure uses up nothing: there is no dead letter, and the lane becomes ready
-- with the position and the failures that its row has.
--
-- A message that was accepted although it was canceled meanwhile is delivered:
-- its dead letter is deleted.
--
-- Returns: the numbers of the lanes for which nothing was written: 'locked'
--          (the worker holds the lane, but somebody has locked its row) or
--          'lost' (the worker does not hold it any more). All others were
--          written. 'renewed' is said of those that the worker goes on
--          holding, and whose generation is newer than that of the call: what
--          they owe has changed.
-- Raises:  55P03 a wait for a lock took too long; nothing was written.
-- Locks:   the rows that it writes. No flush, except with dead letters
--          (dead_letters_flush): if a settle is lost in a crash, its messages
--          are delivered again.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.settle(
    worker             uuid,
    lane_webhooks      bigint[],
    lane_lanes         bigint[],
    lane_tokens        bigint[],
    lane_states        text[],
    lane_generations   integer[],
    lane_positions     bigint[],
    lane_delays        double precision[],
    lane_heads         bigint[],
    lane_failures      integer[],
    lane_batch_lasts   bigint[],
    lane_batch_counts  integer[],
    lane_splits        bigint[],
    lane_errors        text[],
    lane_error_classes text[],
    lane_status_codes  smallint[],
    lane_epochs        bigint[],
    done_lanes         integer[],
    done_messages      bigint[],
    dead_lanes         integer[],
    dead_messages      bigint[],
    dead_reasons       text[],
    dead_attempts      integer[],
    dead_error_classes text[],
    dead_status_codes  smallint[],
    dead_errors        text[]
) RETURNS TABLE (number integer, outcome text, generation integer)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET lock_timeout = '100ms'
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    mine     boolean[];
    newest   integer[];
    outdated boolean[];
    changes  boolean;
    renewed  boolean;
    deleted  integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;

    SELECT array_agg(l.generation IS NOT NULL ORDER BY h.n), array_agg(l.generation ORDER BY h.n), bool_or(h.state <> 'untouched'),
           bool_or(l.generation <> h.generation AND h.state IN ('untouched', 'held'))
      INTO mine, newest, changes, renewed
      FROM unnest(lane_webhooks, lane_lanes, lane_tokens, lane_states, lane_generations)
           WITH ORDINALITY AS h (webhook_id, lane, token, state, generation, n)
      LEFT JOIN LATERAL (
        SELECT l.generation
          FROM pgtopic.lanes l
         WHERE l.webhook_id = h.webhook_id AND l.lane = h.lane AND l.claimed_by = settle.worker AND l.token = h.token
         LIMIT 1
           FOR UPDATE SKIP LOCKED) l ON true;

    IF array_remove(lane_epochs, NULL) <> '{}' THEN
        outdated := ARRAY(
            SELECT h.epoch <> coalesce((SELECT b.epoch FROM pgtopic.breakers b WHERE b.webhook_id = h.webhook_id), 0)
              FROM unnest(lane_webhooks, lane_epochs) WITH ORDINALITY AS h (webhook_id, epoch, n)
             ORDER BY h.n);
    END IF;

    IF cardinality(done_messages) > 0 THEN
        -- By their places: a delivery is never changed, only deleted.
        DELETE FROM pgtopic.deliveries d
         WHERE d.ctid = ANY (ARRAY(
            SELECT x.place
              FROM unnest(done_lanes, done_messages) AS done (n, message_id)
             CROSS JOIN LATERAL (
                SELECT x.ctid AS place
                  FROM pgtopic.deliveries x
                 WHERE x.webhook_id = lane_webhooks[done.n] AND x.lane = lane_lanes[done.n] AND x.message_id = done.message_id
                 LIMIT 1) x
             WHERE mine[done.n]));
        GET DIAGNOSTICS deleted = ROW_COUNT;
        IF deleted < cardinality(done_messages) THEN
            DELETE FROM pgtopic.dead_letters x
             WHERE x.ctid = ANY (ARRAY(
                SELECT x.place
                  FROM unnest(done_lanes, done_messages) AS done (n, message_id)
                 CROSS JOIN LATERAL (
                    SELECT x.ctid AS place
                      FROM pgtopic.dead_letters x
                     WHERE x.webhook_id = lane_webhooks[done.n] AND x.message_id = done.message_id AND x.reason = 'canceled'
                     LIMIT 1) x
                 WHERE mine[done.n]));
        END IF;
    END IF;

    IF cardinality(dead_messages) > 0 THEN
        WITH died AS (
            DELETE FROM pgtopic.deliveries d
             USING unnest(dead_lanes, dead_messages, dead_reasons, dead_attempts, dead_error_classes, dead_status_codes, dead_errors)
                   AS dead (n, message_id, reason, attempts, error_class, status_code, last_error)
             WHERE d.webhook_id = lane_webhooks[dead.n] AND d.lane = lane_lanes[dead.n] AND d.message_id = dead.message_id
               AND mine[dead.n] AND outdated[dead.n] IS NOT TRUE
            RETURNING d.webhook_id, d.lane, dead.*
        )
        INSERT INTO pgtopic.dead_letters AS x (webhook_id, lane, message_id, topic_id, partition_key, type, reason, attempts,
                                               error_class, status_code, last_error)
        SELECT died.webhook_id, died.lane, died.message_id, w.topic_id, l.partition_key, m.type, died.reason, died.attempts,
               died.error_class, died.status_code, died.last_error
          FROM died
          JOIN pgtopic.webhooks w ON w.id = died.webhook_id
          JOIN pgtopic.lanes l ON l.webhook_id = died.webhook_id AND l.lane = died.lane
          LEFT JOIN LATERAL (SELECT m.type FROM pgtopic.messages m WHERE m.id = died.message_id LIMIT 1) m ON true
        ON CONFLICT ON CONSTRAINT dead_letters_delivery_key DO UPDATE
           SET reason = excluded.reason, attempts = excluded.attempts, error_class = excluded.error_class,
               status_code = excluded.status_code, last_error = excluded.last_error, created_at = now();
    END IF;

    IF changes THEN
        UPDATE pgtopic.lanes l
           SET position = CASE WHEN l.generation = new.generation THEN greatest(l.position, new.position) ELSE l.position END,
               due_at = CASE new.state WHEN 'held' THEN l.due_at
                                       WHEN 'halted' THEN 'infinity'
                                       WHEN 'waiting' THEN clock_timestamp() + make_interval(secs => new.delay)
                                       ELSE clock_timestamp() END,
               wait_seconds = CASE new.state WHEN 'waiting' THEN new.delay END,
               claimed_by = CASE new.state WHEN 'held' THEN l.claimed_by END,
               token = CASE new.state WHEN 'held' THEN l.token END,
               head_message_id = new.head,
               failures = new.failures,
               batch_last = new.batch_last,
               batch_count = new.batch_count,
               split_until = new.split,
               last_error = CASE WHEN new.failures > 0 THEN coalesce(new.last_error, l.last_error) END,
               last_error_class = CASE WHEN new.last_error IS NOT NULL THEN new.error_class
                                       WHEN new.failures > 0 THEN l.last_error_class END,
               last_status_code = CASE WHEN new.last_error IS NOT NULL THEN new.status_code
                                       WHEN new.failures > 0 THEN l.last_status_code END,
               halted = new.state = 'halted'
          FROM (SELECT h.webhook_id, h.lane, h.generation, f.position, h.delay, f.head, f.failures, f.batch_last,
                       f.batch_count, f.split, f.last_error, f.error_class, f.status_code,
                       CASE WHEN outdated[h.n] THEN 'ready'
                            WHEN h.state IN ('waiting', 'halted') AND x.generation <> h.generation
                                 AND h.head IS DISTINCT FROM (SELECT d.message_id FROM pgtopic.deliveries d
                                                               WHERE d.webhook_id = h.webhook_id AND d.lane = h.lane
                                                                 AND d.message_id > x.position
                                                               ORDER BY d.message_id LIMIT 1)
                            THEN 'ready' ELSE h.state END AS state
                  FROM unnest(lane_webhooks, lane_lanes, lane_states, lane_generations, lane_positions, lane_delays, lane_heads,
                              lane_failures, lane_batch_lasts, lane_batch_counts, lane_splits, lane_errors, lane_error_classes,
                              lane_status_codes)
                       WITH ORDINALITY AS h (webhook_id, lane, state, generation, position, delay, head, failures, batch_last,
                                             batch_count, split, last_error, error_class, status_code, n)
                 CROSS JOIN LATERAL (SELECT x.* FROM pgtopic.lanes x
                                      WHERE x.webhook_id = h.webhook_id AND x.lane = h.lane LIMIT 1) x
                 CROSS JOIN LATERAL (
                    SELECT h.position, h.head, h.failures, h.batch_last, h.batch_count, h.split, h.last_error, h.error_class,
                           h.status_code
                     WHERE outdated[h.n] IS NOT TRUE
                    UNION ALL
                    SELECT x.position, x.head_message_id, x.failures, x.batch_last, x.batch_count, x.split_until, x.last_error,
                           x.last_error_class, x.last_status_code
                     WHERE outdated[h.n]) f
                 WHERE h.state <> 'untouched' AND mine[h.n]
                OFFSET 0) new
         WHERE l.webhook_id = new.webhook_id AND l.lane = new.lane;
    END IF;

    IF 'halted' = ANY (lane_states) THEN
        BEGIN
            INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, lane, partition_key, message_id, reason, changed_by)
            SELECT 'lane.halted', w.topic_id, l.webhook_id, l.lane, l.partition_key, l.head_message_id, l.last_error,
                   'worker ' || settle.worker
              FROM unnest(lane_webhooks, lane_lanes, lane_states) WITH ORDINALITY AS h (webhook_id, lane, state, n)
             CROSS JOIN LATERAL (SELECT l.* FROM pgtopic.lanes l
                                  WHERE l.webhook_id = h.webhook_id AND l.lane = h.lane AND l.halted
                                  LIMIT 1) l
              JOIN pgtopic.webhooks w ON w.id = l.webhook_id
             WHERE h.state = 'halted' AND mine[h.n];
        EXCEPTION WHEN OTHERS THEN
            -- The outcomes are written, whatever is the matter with the audit log.
            NULL;
        END;
    END IF;

    IF false = ANY (mine) THEN
        RETURN QUERY
        SELECT h.n::integer,
               CASE WHEN EXISTS (SELECT FROM pgtopic.lanes l
                                  WHERE l.webhook_id = h.webhook_id AND l.lane = h.lane
                                    AND l.claimed_by = settle.worker AND l.token = h.token)
                    THEN 'locked' ELSE 'lost' END, NULL::integer
          FROM unnest(lane_webhooks, lane_lanes, lane_tokens) WITH ORDINALITY AS h (webhook_id, lane, token, n)
         WHERE NOT mine[h.n];
    END IF;
    IF renewed THEN
        RETURN QUERY
        SELECT h.n::integer, 'renewed', h.newest
          FROM unnest(newest, lane_generations, lane_states) WITH ORDINALITY AS h (newest, known, state, n)
         WHERE h.newest <> h.known AND h.state IN ('untouched', 'held');
    END IF;
END
$$;
