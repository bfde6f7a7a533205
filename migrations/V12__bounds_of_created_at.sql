-- Workers read instants with a type that ends on 9999-12-30 at 22:00 UTC; and the bounds must not depend on who publishes.
CREATE OR REPLACE FUNCTION messages_check(message messages, takes_bytes integer) RETURNS messages
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
    ELSIF message.created_at < '0001-01-01 00:00+00' OR message.created_at >= '9999-12-30 00:00+00' THEN
        -- RFC 3339 cannot write it, in one time zone or another, and it is sent to receivers.
        RAISE EXCEPTION 'created_at must be from 0001-01-01 to 9999-12-29 (UTC), not %', message.created_at
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
        AND NEW.created_at OPERATOR(pg_catalog.>=) '0001-01-01 00:00+00'
        AND NEW.created_at OPERATOR(pg_catalog.<) '9999-12-30 00:00+00') IS NOT TRUE
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

    $functions$, '@schema@', quote_ident(current_schema())), '@quoted@', replace(quote_ident(current_schema()), '''', ''''''));
END
$migration$;
