-- ----------------------------------------------------------------------
-- messages_validate: complete or refuse a message. messages_publish calls it
-- for messages with headers, an idempotency key, or a value that is missing or
-- out of bounds.
--
-- Parameters:
--   message         as it was published; size_bytes is that of the payload
--                   alone
--   accepted_bytes  the topic's accepted_bytes; null if there is no such topic,
--                   -1 if it refuses messages: it is paused, or a webhook that
--                   may be owed no more has them refused
--
-- Returns: the message, with defaults where partition_key and created_at were
--          null, and with its headers counted in size_bytes.
-- Raises:  23503 unknown topic, 55000 paused topic, 53400 overflowing webhook
--          (DETAIL is topic:name), 54000 payload too large, 23514 partition_key, type, headers, idempotency_key or created_at out
--          of bounds.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.messages_validate(message pgtopic.messages, accepted_bytes integer) RETURNS pgtopic.messages
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    topic_name text;
    webhook    record;
    problem    text;
    field      text;
BEGIN
    message.partition_key := coalesce(message.partition_key, 'default');
    message.created_at := coalesce(message.created_at, now());
    IF accepted_bytes IS NULL THEN
        RAISE EXCEPTION 'topic % does not exist', message.topic_id
            USING ERRCODE = 'foreign_key_violation', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = 'topic_id',
                  HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
    ELSIF message.size_bytes > accepted_bytes THEN
        SELECT t.name INTO topic_name FROM pgtopic.topics t WHERE t.id = message.topic_id;
        IF accepted_bytes < 0 THEN
            SELECT w.name, w.max_owed INTO webhook
              FROM pgtopic.topics t
              JOIN pgtopic.webhooks w ON w.id = t.overflowing_webhook
             WHERE t.id = message.topic_id AND t.paused IS DISTINCT FROM 'refuse';
            IF FOUND THEN
                RAISE EXCEPTION 'topic "%" takes no messages: its webhook "%" is owed more than its max_owed of %',
                    topic_name, webhook.name, webhook.max_owed
                    USING ERRCODE = 'configuration_limit_exceeded', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'max_owed',
                          DETAIL = format('%s:%s', topic_name, webhook.name),
                          HINT = 'It takes messages again when the webhook is owed no more than nine tenths of that.';
            END IF;
            RAISE EXCEPTION 'topic "%" is paused and takes no messages', topic_name
                USING ERRCODE = 'object_not_in_prerequisite_state', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = 'topic_id';
        END IF;
        RAISE EXCEPTION 'payload of % bytes is larger than the % bytes that topic "%" takes',
            message.size_bytes, accepted_bytes, topic_name
            USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = 'payload';
    ELSIF octet_length(message.partition_key) NOT BETWEEN 1 AND 1024 THEN
        field := 'partition_key';
        problem := format('must have 1 to 1024 bytes, not %s', octet_length(message.partition_key));
    ELSIF octet_length(message.type) NOT BETWEEN 1 AND 255 THEN
        field := 'type';
        problem := format('must have 1 to 255 bytes, not %s', octet_length(message.type));
    ELSIF octet_length(message.idempotency_key) NOT BETWEEN 1 AND 255 THEN
        field := 'idempotency_key';
        problem := format('must have 1 to 255 bytes, not %s', octet_length(message.idempotency_key));
    ELSIF message.created_at < '0001-01-01 00:00+00' OR message.created_at >= '9999-12-30 00:00+00' THEN
        -- created_at is sent to receivers. Beyond these bounds RFC 3339 cannot write it in every
        -- time zone.
        field := 'created_at';
        problem := format('must be from 0001-01-01 to 9999-12-29 (UTC), not %s', message.created_at);
    END IF;
    -- Plain headers are told by their text, which costs much less than to take them apart: in lower
    -- case, without escapes, none of them reserved or twice.
    IF field IS NULL AND message.headers IS NOT NULL
        AND NOT (octet_length(message.headers::text) <= 4096
                 AND message.headers::text ~ '^\s*\{(\s*"[-a-z0-9]+"\s*:\s*"[ !#-[\]-~]*"\s*,?)*\s*\}\s*$'
                 AND message.headers::text !~ '"(webhook-|proxy-|connection"|content-|expect"|host"|keep-|te"|trailer"|transfer-|upgrade"|user-)'
                 AND (SELECT count(*) <= 64 AND count(*) = count(DISTINCT h.name) AND bool_and(octet_length(h.name) <= 256) IS NOT FALSE
                        FROM json_object_keys(message.headers) h (name)))
    THEN
        problem := pgtopic.headers_problem(message.headers);
        field := CASE WHEN problem IS NOT NULL THEN 'headers' END;
    END IF;
    IF field IS NOT NULL THEN
        RAISE EXCEPTION '% %', field, problem
            USING ERRCODE = 'check_violation', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = field;
    END IF;
    message.size_bytes := message.size_bytes + coalesce(octet_length(message.headers::text), 0);
    RETURN message;
END
$$;
