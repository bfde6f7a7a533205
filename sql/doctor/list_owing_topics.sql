-- ----------------------------------------------------------------------
-- doctor/list_owing_topics: topics with a lane that is to be sent.
--
-- Parameters: $1 how many at most.
-- Returns:    their names.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.name
  FROM pgtopic.topics t
 WHERE EXISTS (SELECT
                 FROM pgtopic.webhooks w
                WHERE w.topic_id = t.id
                  AND EXISTS (SELECT FROM pgtopic.deliveries d WHERE d.webhook_id = w.id))
 ORDER BY t.id
 LIMIT $1::bigint
