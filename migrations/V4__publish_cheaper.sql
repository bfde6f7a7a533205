-- Publishing for less: a message knows its lane, its rules are the trigger's, and the fan-out sorts and groups nothing.
--
-- PostgreSQL parses a table's CHECK constraints anew with every INSERT statement; a trigger's expressions are kept.

ALTER TABLE messages ADD COLUMN lane bigint;
UPDATE messages m
   SET lane = CASE t.ordering WHEN 'none' THEN m.id ELSE hashtextextended(m.partition_key, m.topic_id) END
  FROM topics t
 WHERE t.id = m.topic_id;
-- Of topics that are gone: maintenance deletes these.
UPDATE messages SET lane = id WHERE lane IS NULL;
ALTER TABLE messages
    ALTER COLUMN lane SET NOT NULL,
    DROP CONSTRAINT messages_partition_key_check,
    DROP CONSTRAINT messages_headers_check,
    DROP CONSTRAINT messages_created_at_check,
    DROP CONSTRAINT messages_idempotency_key_check;
COMMENT ON COLUMN messages.lane IS 'hashtextextended(partition_key, topic_id), or the id where the topic is unordered; given by the trigger.';

CREATE OR REPLACE FUNCTION messages_assign_id() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- messages_assign_id: BEFORE INSERT on messages, for each row.
--
-- Looks the topic up, takes the partition's stripe and only then gives
-- the id. The stripe is held to the end of the transaction, so ids rise in
-- commit order within a partition.
--
-- Every expression here costs each publisher, so one covers whatever is not
-- plain; what it is, is found out only then.
--
-- Raises: 23503 unknown topic, 55000 paused topic, 54000 payload too large,
--         23514 partition_key, headers, idempotency_key or created_at out of
--         bounds.
-- Locks:  advisory (stripe_class(), stripe) to the end of the transaction;
--         none on unordered topics, where no other transaction can know
--         the message's own lane before it is committed.
-- ----------------------------------------------------------------------
DECLARE
    topic record;
BEGIN
    SELECT t.name, t.ordering, t.paused, t.max_payload_bytes INTO topic FROM topics t WHERE t.id = NEW.topic_id;
    NEW.payload_bytes := octet_length(NEW.payload::text);
    IF topic.paused IS NOT FALSE
        OR NEW.payload_bytes > topic.max_payload_bytes
        OR NEW.partition_key IS NULL OR octet_length(NEW.partition_key) NOT BETWEEN 1 AND 1024
        OR NEW.headers IS NOT NULL OR NEW.idempotency_key IS NOT NULL
        OR NEW.created_at IS NULL OR NEW.created_at < '0001-01-01' OR NEW.created_at >= '9999-12-31'
    THEN
        NEW.partition_key := coalesce(NEW.partition_key, 'default');
        NEW.created_at := coalesce(NEW.created_at, now());
        IF topic.paused IS NULL THEN
            RAISE EXCEPTION 'topic % does not exist', NEW.topic_id
                USING ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'topic_id',
                      HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
        ELSIF topic.paused THEN
            RAISE EXCEPTION 'topic "%" is paused and takes no messages', topic.name
                USING ERRCODE = 'object_not_in_prerequisite_state', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
                      COLUMN = 'topic_id';
        ELSIF NEW.payload_bytes > topic.max_payload_bytes THEN
            RAISE EXCEPTION 'payload of % bytes is larger than the % bytes that topic "%" takes',
                NEW.payload_bytes, topic.max_payload_bytes, topic.name
                USING ERRCODE = 'program_limit_exceeded', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'payload';
        ELSIF octet_length(NEW.partition_key) NOT BETWEEN 1 AND 1024 THEN
            RAISE EXCEPTION 'partition_key must have 1 to 1024 bytes, not %', octet_length(NEW.partition_key)
                USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'partition_key';
        ELSIF json_typeof(NEW.headers) <> 'object' THEN
            RAISE EXCEPTION 'headers must be a JSON object, not %', json_typeof(NEW.headers)
                USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'headers';
        ELSIF octet_length(NEW.idempotency_key) NOT BETWEEN 1 AND 255 THEN
            RAISE EXCEPTION 'idempotency_key must have 1 to 255 bytes, not %', octet_length(NEW.idempotency_key)
                USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'idempotency_key';
        ELSIF NEW.created_at < '0001-01-01' OR NEW.created_at >= '9999-12-31' THEN
            -- RFC 3339 cannot write it, and it is sent to receivers.
            RAISE EXCEPTION 'created_at must be within the years 1 to 9999, not %', NEW.created_at
                USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'created_at';
        END IF;
    END IF;

    -- No lane means no stripe: the lock's function is not called with a null. It returns something otherwise, and an
    -- expression costs less than PERFORM, which runs a query. Only then the id.
    NEW.lane := CASE topic.ordering WHEN 'none' THEN NULL ELSE hashtextextended(NEW.partition_key, NEW.topic_id) END;
    IF pg_advisory_xact_lock(
        quote_ident(TG_TABLE_SCHEMA)::regnamespace::oid::integer, (NEW.lane & 1023)::integer) IS NOT NULL
    THEN
        NEW.id := nextval('message_ids');
    ELSE
        NEW.id := nextval('message_ids');
        NEW.lane := NEW.id;
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION messages_fan_out() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- messages_fan_out: AFTER INSERT on messages, for each statement.
--
-- One delivery for every webhook of the topic whose filter lets the message
-- through, paused and disabled ones included; a row in lanes for every lane
-- that has none; then the wake-up.
--
-- What is owed is computed once, message by message in the order of their
-- ids (OFFSET 0 makes it a nested loop, whatever the planner expects): so the
-- first of a lane makes its row, and position is below all of them. A sort
-- would cost a single message more than anything else here. No lock
-- depends on the order of the rows: whoever inserts into a lane holds its
-- stripe.
--
-- Under REPEATABLE READ and SERIALIZABLE, ON CONFLICT DO NOTHING raises 40001
-- when the lane's row is newer than the snapshot. The row is there then and
-- cannot go away (its stripe is ours), so that error is good news; but it
-- hides which of the rows it was, hence one by one. Lanes that the snapshot
-- shows cannot be left out beforehand: they may have been retired since.
--
-- Locks: the new rows; with NOTIFY, the commit takes the cluster's
--        notification lock.
-- ----------------------------------------------------------------------
DECLARE
    ready  record;
    now_us bigint;
BEGIN
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        WITH owed AS MATERIALIZED (
            SELECT w.id AS webhook_id, p.lane, p.id AS message_id, p.partition_key
              FROM published p
             CROSS JOIN LATERAL (
                SELECT w.id
                  FROM webhooks w
                 WHERE w.topic_id = p.topic_id AND (w.filter IS NULL OR filter_matches(w.filter, p.payload))
                OFFSET 0) w
        ), fanned AS (
            INSERT INTO deliveries (webhook_id, lane, message_id)
            SELECT o.webhook_id, o.lane, o.message_id FROM owed o
        )
        INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position)
        SELECT o.webhook_id, o.lane, o.partition_key, clock_timestamp(), o.message_id - 1
          FROM owed o
        ON CONFLICT DO NOTHING;
    ELSE
        FOR ready IN
            WITH owed AS MATERIALIZED (
                SELECT w.id AS webhook_id, p.lane, p.id AS message_id, p.partition_key
                  FROM published p
                 CROSS JOIN LATERAL (
                    SELECT w.id
                      FROM webhooks w
                     WHERE w.topic_id = p.topic_id AND (w.filter IS NULL OR filter_matches(w.filter, p.payload))
                    OFFSET 0) w
            ), fanned AS (
                INSERT INTO deliveries (webhook_id, lane, message_id)
                SELECT o.webhook_id, o.lane, o.message_id FROM owed o
            )
            SELECT o.webhook_id, o.lane, min(o.partition_key) AS partition_key, min(o.message_id) - 1 AS position
              FROM owed o
             GROUP BY o.webhook_id, o.lane
        LOOP
            BEGIN
                INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position)
                VALUES (ready.webhook_id, ready.lane, ready.partition_key, clock_timestamp(), ready.position)
                ON CONFLICT DO NOTHING;
            EXCEPTION WHEN serialization_failure THEN
                -- A plain insert tells that error from one that SERIALIZABLE raises for reasons of its own.
                BEGIN
                    INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position)
                    VALUES (ready.webhook_id, ready.lane, ready.partition_key, clock_timestamp(), ready.position);
                EXCEPTION WHEN unique_violation THEN
                    NULL;
                END;
            END;
        END LOOP;
    END IF;

    -- Most publishers need not even ask: nobody listens, or all poll.
    IF pg_sequence_last_value('listening_until') > date_part('epoch', clock_timestamp()) * 1000000 THEN
        now_us := date_part('epoch', clock_timestamp()) * 1000000;
        IF NOT pg_sequence_last_value('quiet_until') BETWEEN now_us AND now_us + 10000000 THEN
            PERFORM wake_workers();
        END IF;
    END IF;
    RETURN NULL;
END
$$;
