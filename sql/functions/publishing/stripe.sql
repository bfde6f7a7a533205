-- ----------------------------------------------------------------------
-- stripe: the advisory-lock key that publishers of a partition hold.
--
-- A transaction that publishes to several partitions cannot deadlock with
-- another one if both insert ORDER BY stripe(topic_id, partition_key).
--
-- Returns: the topic's id modulo 2^21 above 8 bits of the partition's hash: 0
--          to 2^29 - 1. A topic has 256 stripes. (Masked: the modulus of a
--          negative hash would be negative.)
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.stripe(topic_id bigint, partition_key text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT ((topic_id & 2097151) << 8)::integer | (hashtextextended(partition_key, topic_id) & 255)::integer
$$;
