-- ----------------------------------------------------------------------
-- changes/list_of_lane: the newest changes of a lane, of its webhook and of its
-- topic, oldest first.
--
-- Looks at the newest 1,000 changes of the webhook, and at the newest 1,000
-- that are of no webhook.
--
-- Parameters: $1 webhook id, $2 lane, $3 the most changes to return.
-- Returns:    changes.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT c.kind, c.reason, c.changed_by, c.created_at
  FROM (SELECT c.*
          FROM (SELECT c.* FROM (SELECT c.* FROM pgtopic.changes c
                                  WHERE c.webhook_id = $1::bigint
                                  ORDER BY c.id DESC
                                  LIMIT 1000) c
                 WHERE c.lane = $2::bigint OR c.lane IS NULL AND c.kind <> 'delivery.exhausted'
                UNION ALL
                SELECT c.* FROM (SELECT c.* FROM pgtopic.changes c
                                  WHERE c.webhook_id IS NULL
                                  ORDER BY c.id DESC
                                  LIMIT 1000) c
                 WHERE c.topic_id = (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = $1::bigint)) c
         ORDER BY c.id DESC
         LIMIT $3::bigint) c
 ORDER BY c.id
