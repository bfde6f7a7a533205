-- ----------------------------------------------------------------------
-- publish: the form for a payload of type jsonb.
--
-- Parameters, returns, raises, locks: as publish.json.sql. What is sent is
-- the text of the jsonb value.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.publish(
    topic           text,
    partition_key   text,
    payload         jsonb,
    headers         json DEFAULT NULL,
    idempotency_key text DEFAULT NULL,
    type            text DEFAULT NULL
) RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT pgtopic.publish(topic, partition_key, payload::json, headers, idempotency_key, type)
$$;
