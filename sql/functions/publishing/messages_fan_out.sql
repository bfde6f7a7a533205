-- ----------------------------------------------------------------------
-- messages_fan_out: fan out a message with an idempotency key, or of a
-- publisher with an old snapshot. messages_publish fans out all others itself.
--
-- Under REPEATABLE READ and SERIALIZABLE, ON CONFLICT DO NOTHING raises 40001
-- if the lane's row is newer than the snapshot. Then the row is there. It
-- cannot go away, since this transaction holds its stripe. So that error is
-- ignored. A lane that the snapshot shows must be inserted all the same: its
-- row may have been removed since.
--
-- Parameters:
--   message      with its id and lane
--   stripe       the stripe that this transaction holds; null on unordered
--                topics
--   webhook_ids  the topic's webhooks; null if one of them has types or a filter
--
-- Returns: whether anybody is owed the message.
-- Locks:   the new rows; as lock_idempotency_key.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.messages_fan_out(message pgtopic.messages, stripe integer, webhook_ids bigint[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    committed boolean := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
    webhook   bigint;
BEGIN
    IF message.idempotency_key IS NOT NULL
        AND NOT pgtopic.lock_idempotency_key(message.topic_id, message.idempotency_key)
    THEN
        RETURN false;
    END IF;
    webhook_ids := coalesce(webhook_ids, pgtopic.matching_webhooks(message.topic_id, message.type, message.payload));
    FOREACH webhook IN ARRAY webhook_ids LOOP
        INSERT INTO pgtopic.deliveries (webhook_id, lane, message_id) VALUES (webhook, message.lane, message.id);
        IF committed THEN
            INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
            VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1)
            ON CONFLICT DO NOTHING;
            CONTINUE;
        END IF;
        BEGIN
            INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
            VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1)
            ON CONFLICT DO NOTHING;
        EXCEPTION WHEN serialization_failure THEN
            -- SERIALIZABLE may raise this error for other reasons too. A plain insert tells which
            -- it is.
            BEGIN
                INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
                VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1);
            EXCEPTION WHEN unique_violation THEN
                NULL;
            END;
        END;
    END LOOP;
    RETURN webhook_ids <> '{}';
END
$$;
