-- ----------------------------------------------------------------------
-- locks/list_stripes: the advisory locks of some partitions of a topic.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 partition keys.
-- Returns:    the class and the keys.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT pgtopic.stripe_class()::bigint, coalesce(array_agg(DISTINCT pgtopic.stripe(t.id, k.partition_key)::bigint), '{}')
  FROM pgtopic.topics t
 CROSS JOIN unnest($3::text[]) AS k (partition_key)
 WHERE t.id = $1::bigint OR t.name = $2::text
