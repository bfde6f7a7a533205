-- ----------------------------------------------------------------------
-- why/get_partition: a partition, as far as its webhooks need not be known.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 partition key.
-- Returns:    its topic and its lane, and, if its topic is held, since when and
--             by whom as far as the audit log tells. Nothing if there is no
--             such topic.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.id AS topic_id, t.name AS topic, t.paused IS NOT DISTINCT FROM 'hold' AS held, c.created_at AS held_since,
       c.changed_by AS held_by, $3::text AS partition_key, hashtextextended($3::text, t.id) AS lane,
       t.ordering = 'partition' AS ordered
  FROM pgtopic.topics t
  LEFT JOIN LATERAL (
    SELECT c.created_at, c.changed_by
      FROM (SELECT c.id, c.topic_id, c.kind, c.created_at, c.changed_by
              FROM pgtopic.changes c
             WHERE c.webhook_id IS NULL
             ORDER BY c.id DESC
             LIMIT 1000) c
     WHERE t.paused = 'hold' AND c.topic_id = t.id AND c.kind = 'topic.paused'
     ORDER BY c.id DESC
     LIMIT 1) c ON true
 WHERE t.id = $1::bigint OR t.name = $2::text
