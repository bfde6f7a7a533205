-- ----------------------------------------------------------------------
-- publish: the form for a payload of type jsonb and the partition key
-- 'default'.
--
-- Parameters, returns, raises, locks: as publish.json.sql. What is sent is
-- the text of the jsonb value.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.publish(
    topic           text,
    payload         jsonb,
    idempotency_key text DEFAULT NULL,
    headers         json DEFAULT NULL,
    type            text DEFAULT NULL
) RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT pgtopic.publish(topic, 'default'::text, payload::json, headers, idempotency_key, type)
$$;
