-- ----------------------------------------------------------------------
-- doctor/list_owing_topics: topics with a lane that is to be sent.
--
-- One probe of the primary key for each webhook. ORDER BY keeps the planner from
-- reading all deliveries of a webhook that is owed nothing.
--
-- Parameters: $1 how many at most.
-- Returns:    their names.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.name
  FROM pgtopic.topics t
 WHERE EXISTS (SELECT
                 FROM pgtopic.webhooks w
                CROSS JOIN LATERAL (SELECT
                                      FROM pgtopic.deliveries d
                                     WHERE d.webhook_id = w.id
                                     ORDER BY d.lane, d.message_id
                                     LIMIT 1) d
                WHERE w.topic_id = t.id)
 ORDER BY t.id
 LIMIT $1::bigint
