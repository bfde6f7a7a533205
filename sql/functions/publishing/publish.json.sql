-- ----------------------------------------------------------------------
-- publish: publish one message to a topic by its name. This is the form for a
-- payload of type json. The forms for other types call it.
--
-- A file publish.<form>.sql holds one form each. They are such that PostgreSQL
-- finds exactly one of them for each call: a payload without a type, such as
-- '{"a": 1}', is text. Without a partition key, payloads of type json and jsonb
-- need forms of their own: a default in the middle of the parameters would ask
-- for a default of the payload, and the call publish(topic, payload) would fit
-- several forms.
--
-- Parameters:
--   topic            the topic's name
--   partition_key    messages with the same key stay in order; null is
--                    'default'
--   payload          what is sent, byte for byte
--   headers          headers that are sent with it, an object of strings
--   idempotency_key  publishing again with the same key in the same topic
--                    publishes nothing
--   type             what kind of event it is, such as order.paid
--
-- Returns: the message's id. If the idempotency key was used before in this
--          topic: the id of the message that it was used for first.
-- Raises:  23503 unknown topic, and what INSERT INTO messages raises.
-- Locks:   as INSERT INTO messages.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.publish(
    topic           text,
    partition_key   text,
    payload         json,
    headers         json DEFAULT NULL,
    idempotency_key text DEFAULT NULL,
    type            text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    topic_key  bigint;
    message_id bigint;
BEGIN
    SELECT t.id INTO topic_key FROM pgtopic.topics t WHERE t.name = publish.topic;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'topic "%" does not exist', publish.topic
            USING ERRCODE = 'foreign_key_violation', HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
    END IF;
    LOOP
        IF publish.idempotency_key IS NOT NULL THEN
            SELECT m.id INTO message_id FROM pgtopic.messages m
             WHERE m.topic_id = topic_key AND m.idempotency_key = publish.idempotency_key;
            IF FOUND THEN
                RETURN message_id;
            END IF;
        END IF;
        INSERT INTO pgtopic.messages (topic_id, partition_key, type, payload, headers, idempotency_key)
        VALUES (topic_key, publish.partition_key, publish.type, publish.payload, publish.headers, publish.idempotency_key)
        ON CONFLICT (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING id INTO message_id;
        -- Nothing was returned: another transaction has used the key and has committed. Look again.
        EXIT WHEN message_id IS NOT NULL;
    END LOOP;
    RETURN message_id;
END
$$;
