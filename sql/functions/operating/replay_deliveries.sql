-- ----------------------------------------------------------------------
-- replay_deliveries: deliver some messages once more to a webhook.
--
-- As replay_dead_letters, for messages that were delivered, canceled or given
-- up. If a message is a dead letter of the webhook, that is deleted. Whether
-- the webhook ever was owed a message is not looked at; nor do its filter and
-- types count.
--
-- Parameters:
--   webhook_id   the webhook
--   message_ids  at most 1,000 of them
--   waits        as lock_lane: true for one message only
--
-- Returns: a row for each id, with its outcome: 'replayed'; 'already_owed';
--          'message_gone': the webhook's topic has no such message (any more);
--          'stripe_taken' and 'row_locked': as replay_dead_letters. No row at
--          all if there is no such webhook.
-- Raises:  25000 not at READ COMMITTED; as lock_lane.
-- Locks:   the dead letters; as owe_message. Waits end after 1 s.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.replay_deliveries(webhook_id bigint, message_ids bigint[], waits boolean)
RETURNS TABLE (message_id bigint, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET lock_timeout = '1s'
AS $$
#variable_conflict use_column
DECLARE
    message      record;
    left_stripes integer[] := '{}';
BEGIN
    PERFORM pgtopic.require_read_committed();
    FOR message IN
        SELECT asked.id, m.lane, m.partition_key, t.stripes | (m.lane & 255)::integer AS stripe
          FROM pgtopic.webhooks w
          JOIN pgtopic.topics t ON t.id = w.topic_id
         CROSS JOIN unnest(message_ids) AS asked (id)
          LEFT JOIN LATERAL (SELECT m.lane, m.partition_key FROM pgtopic.messages m
                              WHERE m.id = asked.id AND m.topic_id = w.topic_id LIMIT 1) m ON true
         WHERE w.id = replay_deliveries.webhook_id
         ORDER BY asked.id
    LOOP
        message_id := message.id;
        outcome := CASE WHEN message.lane IS NULL THEN 'message_gone'
                        WHEN message.stripe = ANY (left_stripes) THEN 'stripe_taken' END;
        IF outcome IS NULL THEN
            PERFORM FROM pgtopic.dead_letters x
              WHERE x.webhook_id = replay_deliveries.webhook_id AND x.message_id = message.id FOR UPDATE SKIP LOCKED;
            IF NOT FOUND AND EXISTS (SELECT FROM pgtopic.dead_letters x
                                      WHERE x.webhook_id = replay_deliveries.webhook_id AND x.message_id = message.id)
            THEN
                outcome := 'row_locked';
            ELSE
                outcome := pgtopic.owe_message(replay_deliveries.webhook_id, message.id, message.lane, message.partition_key,
                                               message.stripe, clock_timestamp(), waits);
            END IF;
            IF outcome = 'owed' THEN
                DELETE FROM pgtopic.dead_letters x
                 WHERE x.webhook_id = replay_deliveries.webhook_id AND x.message_id = message.id;
                outcome := 'replayed';
            ELSIF outcome IN ('stripe_taken', 'row_locked') THEN
                left_stripes := left_stripes || message.stripe;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
