-- ----------------------------------------------------------------------
-- publish: the form for a payload of type text, or without a type.
--
-- Parameters, returns, raises, locks: as publish.json.sql. The payload
-- must be JSON. It is sent byte for byte. The partition key defaults to
-- 'default'. The default of the payload only serves that: it is refused.
--
-- Raises:  also 22004 there is no payload, 22P02 it is no JSON.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.publish(
    topic           text,
    partition_key   text DEFAULT 'default',
    payload         text DEFAULT NULL,
    headers         json DEFAULT NULL,
    idempotency_key text DEFAULT NULL,
    type            text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF payload IS NULL THEN
        RAISE EXCEPTION 'there is no payload'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Call publish(topic, partition_key, payload), or publish(topic, payload => ...).';
    END IF;
    RETURN pgtopic.publish(topic, partition_key, payload::json, headers, idempotency_key, type);
END
$$;
