-- ----------------------------------------------------------------------
-- messages/publish: publish one message. If its idempotency key was used
-- before, find the message that it was used for.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 partition key or
--             null, $4 payload, $5 headers or null, $6 idempotency key or null,
--             $7 type or null.
-- Returns:    the message, and whether it is an earlier one. Nothing if there
--             is no such topic.
-- Raises:     23505 (messages_idempotency_key) another transaction has just
--             used the key; and what messages_publish raises, such as 55000
--             paused topic, 54000 payload too large.
-- Locks:      the partition's stripe, to the end of the statement.
-- ----------------------------------------------------------------------
WITH topic AS (
    SELECT t.id, t.name FROM pgtopic.topics t WHERE t.id = $1::bigint OR t.name = $2::text
), earlier AS (
    SELECT m.id, m.partition_key, m.created_at
      FROM topic t
     CROSS JOIN LATERAL (SELECT m.id, m.partition_key, m.created_at
                           FROM pgtopic.messages m
                          WHERE m.topic_id = t.id AND m.idempotency_key = $6::text
                          LIMIT 1) m
), published AS (
    INSERT INTO pgtopic.messages (topic_id, partition_key, type, payload, headers, idempotency_key)
    SELECT t.id, coalesce($3::text, 'default'), $7::text, $4::text::json, $5::text::json, $6::text
      FROM topic t
     WHERE NOT EXISTS (SELECT FROM earlier)
    RETURNING id, partition_key, created_at
)
SELECT m.id, t.name AS topic, m.partition_key, m.created_at, m.repeated
  FROM topic t
 CROSS JOIN (SELECT id, partition_key, created_at, false AS repeated FROM published
             UNION ALL
             SELECT id, partition_key, created_at, true FROM earlier) m
