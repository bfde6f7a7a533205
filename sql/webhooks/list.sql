-- ----------------------------------------------------------------------
-- webhooks/list: a page of all webhooks, or of a topic's, by rising id.
--
-- Parameters: $1 topic id or null, $2 the id where the page before ended,
--             $3 limit.
-- Returns:    w: webhooks.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH w AS (
    SELECT *
      FROM pgtopic.webhooks w
     WHERE w.id > $2::bigint AND ($1::bigint IS NULL OR w.topic_id = $1::bigint)
     ORDER BY w.id
     LIMIT $3::bigint
)
