-- ----------------------------------------------------------------------
-- cancel_deliveries: take messages out of what a webhook is owed. Each becomes
-- a dead letter, from which it can be replayed.
--
-- The head of a lane that a worker holds may be on its way: it stays. A message
-- behind the head is taken out even so. The lane's generation rises, and its
-- worker reads the lane anew after its next settle. If the receiver has
-- accepted the message meanwhile, that settle deletes the dead letter. For any
-- reason but 'canceled' and 'skipped', nothing is taken out of a lane that a
-- worker holds: the worker has a rule of its own for what it sends.
--
-- If failures, wait and halt of the lane belong to the message (or to the batch
-- that it is in), they end with it, and the lane is due.
--
-- Parameters:
--   webhook_id   the webhook
--   message_ids  at most 1,000 of them
--   reason       'canceled'; or 'skipped': only the head of a lane; or what the
--                leader gives up: 'expired', 'overflow', 'superseded'
--   waits        as lock_lane: true for one message only
--   changed_by   who asks for it
--
-- Returns: a row for each id, with its outcome: 'removed', and dead_letter_id;
--          'not_owed'; 'in_flight': it is the head of a lane that worker holds
--          since then, or in such a lane; 'not_head': head is (only if skipped); 'stripe_taken'
--          and 'row_locked': as lock_lane. No row at all if there is no such
--          webhook.
-- Raises:  25000 not at READ COMMITTED; as lock_lane.
-- Locks:   as lock_lane; the deliveries and the new rows. Waits end after 1 s.
--          Notifies.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.cancel_deliveries(webhook_id bigint, message_ids bigint[], reason text, waits boolean,
                                                     changed_by text)
RETURNS TABLE (message_id bigint, outcome text, dead_letter_id bigint, head bigint, worker uuid, since timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET lock_timeout = '1s'
AS $$
#variable_conflict use_column
DECLARE
    message      record;
    locked       record;
    held         pgtopic.lanes;
    is_held      boolean;
    -- Whether failures, wait and halt belong to the message.
    is_reason    boolean;
    left_stripes integer[] := '{}';
BEGIN
    PERFORM pgtopic.require_read_committed();
    FOR message IN
        SELECT asked.id, m.topic_id, m.lane, m.partition_key, m.type, t.stripes | (m.lane & 255)::integer AS stripe
          FROM pgtopic.webhooks w
          JOIN pgtopic.topics t ON t.id = w.topic_id
         CROSS JOIN unnest(message_ids) AS asked (id)
          LEFT JOIN LATERAL (SELECT m.topic_id, m.lane, m.partition_key, m.type FROM pgtopic.messages m
                              WHERE m.id = asked.id AND m.topic_id = w.topic_id LIMIT 1) m ON true
         WHERE w.id = cancel_deliveries.webhook_id
         ORDER BY asked.id
    LOOP
        message_id := message.id;
        dead_letter_id := NULL;
        head := NULL;
        worker := NULL;
        since := NULL;
        outcome := CASE WHEN message.lane IS NULL THEN 'not_owed'
                        WHEN message.stripe = ANY (left_stripes) THEN 'stripe_taken' END;
        IF outcome IS NOT NULL THEN
            RETURN NEXT;
            CONTINUE;
        END IF;
        SELECT k.* INTO locked
          FROM pgtopic.lock_lane(cancel_deliveries.webhook_id, message.lane, message.stripe, waits) k;
        outcome := locked.outcome;
        held := locked.held;
        IF outcome <> 'locked' THEN
            left_stripes := left_stripes || message.stripe;
            RETURN NEXT;
            CONTINUE;
        END IF;

        head := (SELECT d.message_id FROM pgtopic.deliveries d
                  WHERE d.webhook_id = cancel_deliveries.webhook_id AND d.lane = message.lane
                    AND d.message_id > coalesce(held.position, -1)
                  ORDER BY d.message_id LIMIT 1);
        is_held := held.claimed_by IS NOT NULL
                   AND EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = held.claimed_by AND NOT o.gone);
        outcome := CASE WHEN NOT EXISTS (SELECT FROM pgtopic.deliveries d
                                          WHERE d.webhook_id = cancel_deliveries.webhook_id AND d.lane = message.lane
                                            AND d.message_id = message.id) THEN 'not_owed'
                        WHEN reason = 'skipped' AND head <> message.id THEN 'not_head'
                        WHEN is_held AND (head = message.id OR reason NOT IN ('canceled', 'skipped')) THEN 'in_flight'
                        ELSE 'removed' END;
        IF outcome = 'in_flight' THEN
            worker := held.claimed_by;
            since := held.claimed_at;
        END IF;
        IF outcome <> 'removed' THEN
            RETURN NEXT;
            CONTINUE;
        END IF;

        is_reason := NOT is_held AND coalesce(message.id BETWEEN held.head_message_id
                                                             AND coalesce(held.batch_last, held.head_message_id), false);
        DELETE FROM pgtopic.deliveries d
         WHERE d.webhook_id = cancel_deliveries.webhook_id AND d.lane = message.lane AND d.message_id = message.id;
        INSERT INTO pgtopic.dead_letters AS x (webhook_id, lane, message_id, topic_id, partition_key, type, reason, attempts,
                                               error_class, status_code, last_error)
        SELECT cancel_deliveries.webhook_id, message.lane, message.id, message.topic_id, message.partition_key, message.type,
               cancel_deliveries.reason, CASE WHEN is_reason THEN held.failures ELSE 0 END,
               CASE WHEN is_reason THEN held.last_error_class END, CASE WHEN is_reason THEN held.last_status_code END,
               CASE WHEN is_reason THEN held.last_error END
        ON CONFLICT ON CONSTRAINT dead_letters_delivery_key DO UPDATE
           SET reason = excluded.reason, attempts = excluded.attempts, error_class = excluded.error_class,
               status_code = excluded.status_code, last_error = excluded.last_error, created_at = now()
        RETURNING x.id INTO dead_letter_id;
        IF is_reason THEN
            UPDATE pgtopic.lanes l
               SET generation = l.generation + 1, failures = 0, halted = false,
                   due_at = least(l.due_at, clock_timestamp()), wait_seconds = NULL,
                   head_message_id = NULL, batch_last = NULL, batch_count = NULL,
                   last_error = NULL, last_error_class = NULL, last_status_code = NULL
             WHERE l.webhook_id = held.webhook_id AND l.lane = held.lane;
            IF held.halted THEN
                INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, lane, partition_key, message_id, reason, changed_by)
                VALUES ('lane.resumed', message.topic_id, held.webhook_id, held.lane, held.partition_key, message.id,
                        format('its head was %s', cancel_deliveries.reason), cancel_deliveries.changed_by);
            END IF;
            PERFORM pgtopic.notify_workers(message.id, message.stripe);
        ELSE
            UPDATE pgtopic.lanes l SET generation = l.generation + 1
             WHERE l.webhook_id = held.webhook_id AND l.lane = held.lane;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
