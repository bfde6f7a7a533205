-- ----------------------------------------------------------------------
-- lanes/find: a lane by what names it.
--
-- Parameters: $1 webhook id, $2 partition key or null, $3 message id or null.
-- Returns:    is_ordered, and the lane's number: that of the partition key if
--             the topic is ordered, else the message id (null if that is null);
--             its partition key; null if it has no row. Nothing if there is no
--             such webhook.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.ordering = 'partition' AS is_ordered, n.lane, l.partition_key
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
 CROSS JOIN LATERAL (SELECT CASE t.ordering WHEN 'partition' THEN hashtextextended($2::text, t.id) ELSE $3::bigint END AS lane) n
  LEFT JOIN LATERAL (SELECT l.partition_key FROM pgtopic.lanes l
                      WHERE l.webhook_id = w.id AND l.lane = n.lane LIMIT 1) l ON true
 WHERE w.id = $1::bigint
