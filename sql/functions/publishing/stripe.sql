-- ----------------------------------------------------------------------
-- stripe: the advisory-lock key that publishers of a partition hold.
--
-- Two transactions that publish to several partitions cannot deadlock if both
-- insert ORDER BY stripe(topic_id, partition_key).
--
-- Returns: 0 to 2^29 - 1: the topic's id modulo 2^21 in the upper bits, and 8
--          bits of the partition's hash. So a topic has 256 stripes. (Bits are
--          masked, since the modulus of a negative hash would be negative.)
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.stripe(topic_id bigint, partition_key text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT ((topic_id & 2097151) << 8)::integer | (hashtextextended(partition_key, topic_id) & 255)::integer
$$;
