-- ----------------------------------------------------------------------
-- webhooks/find: what names a webhook.
--
-- Parameters: $1 id or null; or, with the name in $4, $2 topic id or null and
--             $3 topic name or null.
-- Returns:    its id, its name, its topic's id and name; nothing if there is no
--             such webhook.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.id, w.name, w.topic_id, t.name AS topic
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
 WHERE w.id = $1::bigint
    OR w.name = $4::text AND w.topic_id = (SELECT x.id FROM pgtopic.topics x WHERE x.id = $2::bigint OR x.name = $3::text)
