-- Publishing for less: the two trigger functions set nothing, and ask the topic for the answers instead of for the questions.
--
-- SET search_path costs 10,900 instructions with each call, more than the call itself (9,300), and a publish makes two.
-- A SECURITY DEFINER function may go without it only where no name in it is looked up: every table, function,
-- operator and type below names its schema (bigint, integer and the like are keywords, BETWEEN, IN, CASE x WHEN and min(x) = y
-- are lookups of operators). What is not on every publisher's way is in functions of its own, which pin their path.
--
-- An expression is prepared anew in each transaction that uses it, node by node: few nodes count, not few rows.

ALTER TABLE topics
    ADD COLUMN takes_bytes integer GENERATED ALWAYS AS (CASE WHEN paused THEN -1 ELSE max_payload_bytes END) STORED,
    ADD COLUMN stripes     bigint  GENERATED ALWAYS AS (CASE ordering WHEN 'partition' THEN 1023 END) STORED;
COMMENT ON COLUMN topics.takes_bytes IS 'The largest payload that publishers get through now: none while the topic is paused.';
COMMENT ON COLUMN topics.stripes IS 'What masks a lane to its stripe; null where the topic is unordered and takes no locks.';

CREATE FUNCTION messages_check(message messages, takes_bytes integer) RETURNS messages
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- messages_check: what messages_assign_id does with a message that is not
-- plain.
--
-- Parameters:
--   message      as it was published, with payload_bytes
--   takes_bytes  of its topic, as the caller has read it: null where there is
--                no such topic, -1 where it is paused
--
-- Returns: the message, with defaults for the key and the time where they
--          were null.
-- Raises:  23503 unknown topic, 55000 paused topic, 54000 payload too large,
--          23514 partition_key, headers, idempotency_key or created_at out of
--          bounds.
-- Locks:   none.
-- ----------------------------------------------------------------------
DECLARE
    topic_name text;
BEGIN
    message.partition_key := coalesce(message.partition_key, 'default');
    message.created_at := coalesce(message.created_at, now());
    IF takes_bytes IS NULL THEN
        RAISE EXCEPTION 'topic % does not exist', message.topic_id
            USING ERRCODE = 'foreign_key_violation', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'topic_id',
                  HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
    ELSIF message.payload_bytes > takes_bytes THEN
        SELECT t.name INTO topic_name FROM topics t WHERE t.id = message.topic_id;
        IF takes_bytes < 0 THEN
            RAISE EXCEPTION 'topic "%" is paused and takes no messages', topic_name
                USING ERRCODE = 'object_not_in_prerequisite_state', SCHEMA = current_schema(), TABLE = 'messages',
                      COLUMN = 'topic_id';
        END IF;
        RAISE EXCEPTION 'payload of % bytes is larger than the % bytes that topic "%" takes',
            message.payload_bytes, takes_bytes, topic_name
            USING ERRCODE = 'program_limit_exceeded', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'payload';
    ELSIF octet_length(message.partition_key) NOT BETWEEN 1 AND 1024 THEN
        RAISE EXCEPTION 'partition_key must have 1 to 1024 bytes, not %', octet_length(message.partition_key)
            USING ERRCODE = 'check_violation', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'partition_key';
    ELSIF json_typeof(message.headers) <> 'object' THEN
        RAISE EXCEPTION 'headers must be a JSON object, not %', json_typeof(message.headers)
            USING ERRCODE = 'check_violation', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'headers';
    ELSIF octet_length(message.idempotency_key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'idempotency_key must have 1 to 255 bytes, not %', octet_length(message.idempotency_key)
            USING ERRCODE = 'check_violation', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'idempotency_key';
    ELSIF message.created_at < '0001-01-01' OR message.created_at >= '9999-12-31' THEN
        -- RFC 3339 cannot write it, and it is sent to receivers.
        RAISE EXCEPTION 'created_at must be within the years 1 to 9999, not %', message.created_at
            USING ERRCODE = 'check_violation', SCHEMA = current_schema(), TABLE = 'messages', COLUMN = 'created_at';
    END IF;
    RETURN message;
END
$$;

-- A name in a function's text must be written out, and the schema's name is not known here. @schema@ stands for it, and
-- @quoted@ for it within a string.
DO $migration$
BEGIN
    EXECUTE replace(replace($functions$

CREATE OR REPLACE FUNCTION messages_assign_id() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $pgtopic$
-- ----------------------------------------------------------------------
-- messages_assign_id: BEFORE INSERT on messages, for each row.
--
-- Looks the topic up, takes the partition's stripe and only then gives
-- the id. The stripe is held to the end of the transaction, so ids rise in
-- commit order within a partition.
--
-- Every expression here costs each publisher, so one tells whether all is
-- plain; what is not, messages_check finds out. No search path is set: every
-- name must be written out, those of operators too.
--
-- Raises: as messages_check.
-- Locks:  advisory (stripe_class(), stripe) to the end of the transaction;
--         none on unordered topics, where no other transaction can know
--         the message's own lane before it is committed.
-- ----------------------------------------------------------------------
DECLARE
    takes_bytes integer;
    stripes     bigint;
BEGIN
    SELECT t.takes_bytes, t.stripes INTO takes_bytes, stripes
      FROM @schema@.topics t
     WHERE t.id OPERATOR(pg_catalog.=) NEW.topic_id;
    NEW.payload_bytes := pg_catalog.octet_length(NEW.payload::pg_catalog.text);
    IF (NEW.payload_bytes OPERATOR(pg_catalog.<=) takes_bytes
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.>=) 1
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.<=) 1024
        AND NEW.headers IS NULL AND NEW.idempotency_key IS NULL
        AND NEW.created_at OPERATOR(pg_catalog.>=) '0001-01-01'
        AND NEW.created_at OPERATOR(pg_catalog.<) '9999-12-31') IS NOT TRUE
    THEN
        NEW := @schema@.messages_check(NEW, takes_bytes);
    END IF;

    -- Without stripes there is nothing to lock: the function is not called with a null. It returns something otherwise, and an
    -- expression costs less than PERFORM, which runs a query. Only then the id.
    NEW.lane := pg_catalog.hashtextextended(NEW.partition_key, NEW.topic_id);
    IF pg_catalog.pg_advisory_xact_lock(
        '@quoted@'::pg_catalog.regnamespace::pg_catalog.oid::integer,
        (NEW.lane OPERATOR(pg_catalog.&) stripes)::integer) IS NOT NULL
    THEN
        NEW.id := pg_catalog.nextval('@quoted@.message_ids'::pg_catalog.regclass);
    ELSE
        NEW.id := pg_catalog.nextval('@quoted@.message_ids'::pg_catalog.regclass);
        NEW.lane := NEW.id;
    END IF;
    RETURN NEW;
END
$pgtopic$;

CREATE OR REPLACE FUNCTION messages_fan_out() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $pgtopic$
-- ----------------------------------------------------------------------
-- messages_fan_out: AFTER INSERT on messages, for each statement.
--
-- One delivery for every webhook of the topic whose filter lets the message
-- through, paused and disabled ones included; a row in lanes for every lane
-- that has none; then the wake-up. No search path is set: every name must be
-- written out, those of operators too.
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
    isolation   pg_catalog.text := pg_catalog.current_setting('transaction_isolation');
    ready       record;
    now_us      bigint;
    quiet_until bigint;
BEGIN
    IF isolation OPERATOR(pg_catalog.=) 'read committed' OR isolation OPERATOR(pg_catalog.=) 'read uncommitted' THEN
        WITH owed AS MATERIALIZED (
            SELECT w.id AS webhook_id, p.lane, p.id AS message_id, p.partition_key
              FROM published p
             CROSS JOIN LATERAL (
                SELECT w.id
                  FROM @schema@.webhooks w
                 WHERE w.topic_id OPERATOR(pg_catalog.=) p.topic_id
                   AND (w.filter IS NULL OR @schema@.filter_matches(w.filter, p.payload))
                OFFSET 0) w
        ), fanned AS (
            INSERT INTO @schema@.deliveries (webhook_id, lane, message_id)
            SELECT o.webhook_id, o.lane, o.message_id FROM owed o
        )
        INSERT INTO @schema@.lanes (webhook_id, lane, partition_key, due_at, position)
        SELECT o.webhook_id, o.lane, o.partition_key, pg_catalog.clock_timestamp(), o.message_id OPERATOR(pg_catalog.-) 1
          FROM owed o
        ON CONFLICT DO NOTHING;
    ELSE
        FOR ready IN
            WITH owed AS MATERIALIZED (
                SELECT w.id AS webhook_id, p.lane, p.id AS message_id, p.partition_key
                  FROM published p
                 CROSS JOIN LATERAL (
                    SELECT w.id
                      FROM @schema@.webhooks w
                     WHERE w.topic_id OPERATOR(pg_catalog.=) p.topic_id
                       AND (w.filter IS NULL OR @schema@.filter_matches(w.filter, p.payload))
                    OFFSET 0) w
            ), fanned AS (
                INSERT INTO @schema@.deliveries (webhook_id, lane, message_id)
                SELECT o.webhook_id, o.lane, o.message_id FROM owed o
            )
            SELECT o.webhook_id, o.lane, pg_catalog.min(o.partition_key) AS partition_key,
                   pg_catalog.min(o.message_id) OPERATOR(pg_catalog.-) 1 AS position
              FROM owed o
             GROUP BY o.webhook_id, o.lane
        LOOP
            BEGIN
                INSERT INTO @schema@.lanes (webhook_id, lane, partition_key, due_at, position)
                VALUES (ready.webhook_id, ready.lane, ready.partition_key, pg_catalog.clock_timestamp(), ready.position)
                ON CONFLICT DO NOTHING;
            EXCEPTION WHEN serialization_failure THEN
                -- A plain insert tells that error from one that SERIALIZABLE raises for reasons of its own.
                BEGIN
                    INSERT INTO @schema@.lanes (webhook_id, lane, partition_key, due_at, position)
                    VALUES (ready.webhook_id, ready.lane, ready.partition_key, pg_catalog.clock_timestamp(), ready.position);
                EXCEPTION WHEN unique_violation THEN
                    NULL;
                END;
            END;
        END LOOP;
    END IF;

    -- Most publishers need not even ask: nobody listens, or all poll.
    IF pg_catalog.pg_sequence_last_value('@quoted@.listening_until'::pg_catalog.regclass) OPERATOR(pg_catalog.>)
        (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)
    THEN
        now_us := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000;
        quiet_until := pg_catalog.pg_sequence_last_value('@quoted@.quiet_until'::pg_catalog.regclass);
        IF quiet_until OPERATOR(pg_catalog.<) now_us
            OR quiet_until OPERATOR(pg_catalog.>) (now_us OPERATOR(pg_catalog.+) 10000000)
        THEN
            PERFORM @schema@.wake_workers();
        END IF;
    END IF;
    RETURN NULL;
END
$pgtopic$;

    $functions$, '@schema@', quote_ident(current_schema())), '@quoted@', replace(quote_ident(current_schema()), '''', ''''''));
END
$migration$;
