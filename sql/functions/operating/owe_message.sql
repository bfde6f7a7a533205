-- ----------------------------------------------------------------------
-- owe_message: have a webhook owe a message (again).
--
-- The lane gets a row, or its position is lowered, and its generation rises: a
-- worker that holds the lane reads it anew. A lane that waits becomes due if
-- the message comes before what it waits for, or is a new member of the batch
-- that it waits for. A halted lane stays halted.
--
-- Parameters:
--   webhook_id, message_id, lane, partition_key  of the delivery
--   stripe       the lane's stripe; null if the topic is unordered
--   replayed_at  when a replay asked for it; null: it is no replay
--   waits        as lock_lane
--
-- Returns: 'owed'; 'already_owed'; 'message_gone': the message was deleted;
--          'stripe_taken' or 'row_locked': as lock_lane, or somebody has locked
--          the message. Only 'owed' has changed anything.
-- Raises:  as lock_lane.
-- Locks:   as lock_lane; the message FOR KEY SHARE; the new rows. Notifies.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.owe_message(webhook_id bigint, message_id bigint, lane bigint, partition_key text,
                                               stripe integer, replayed_at timestamptz, waits boolean) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    outcome text := (SELECT k.outcome FROM pgtopic.lock_lane(webhook_id, lane, stripe, waits) k);
BEGIN
    IF outcome <> 'locked' THEN
        RETURN outcome;
    END IF;
    PERFORM FROM pgtopic.messages m WHERE m.id = message_id FOR KEY SHARE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN CASE WHEN EXISTS (SELECT FROM pgtopic.messages m WHERE m.id = message_id) THEN 'row_locked' ELSE 'message_gone' END;
    END IF;

    INSERT INTO pgtopic.deliveries (webhook_id, lane, message_id, replayed_at)
    VALUES (webhook_id, lane, message_id, replayed_at)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'already_owed';
    END IF;
    INSERT INTO pgtopic.lanes AS l (webhook_id, lane, stripe, partition_key, due_at, position)
    VALUES (webhook_id, lane, stripe, partition_key, clock_timestamp(), message_id - 1)
    ON CONFLICT ON CONSTRAINT lanes_pkey DO UPDATE
       SET position = least(l.position, excluded.position),
           generation = l.generation + 1,
           due_at = CASE WHEN l.claimed_by IS NULL AND NOT l.halted
                              AND message_id <= coalesce(l.batch_last, l.head_message_id, message_id)
                         THEN least(l.due_at, excluded.due_at) ELSE l.due_at END,
           wait_seconds = CASE WHEN l.claimed_by IS NULL AND NOT l.halted
                                    AND message_id <= coalesce(l.batch_last, l.head_message_id, message_id)
                               THEN NULL ELSE l.wait_seconds END;
    PERFORM pgtopic.notify_workers(message_id, stripe);
    RETURN 'owed';
END
$$;
