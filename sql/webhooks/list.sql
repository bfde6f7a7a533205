-- ----------------------------------------------------------------------
-- webhooks/list: a page of all webhooks, or of a topic's, by rising id.
--
-- Parameters: $1 topic id or null, $2 the id where the page before ended,
--             $3 limit, $4 the LIKE patterns of the topics that may be seen, or
--             null for all, $5 the state (of the health) that is wanted, or
--             null.
-- Returns:    w: webhooks.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH w AS (
    SELECT *
      FROM pgtopic.webhooks w
     WHERE w.id > $2::bigint AND ($1::bigint IS NULL OR w.topic_id = $1::bigint)
       AND ($4::text[] IS NULL
            OR EXISTS (SELECT FROM pgtopic.topics t WHERE t.id = w.topic_id AND t.name LIKE ANY ($4::text[])))
       -- As domain/health.rs judges.
       AND ($5::text IS NULL
            OR $5::text = CASE WHEN w.disabled_reason IS NOT NULL THEN 'disabled' WHEN w.paused THEN 'paused'
                               WHEN w.state = 'starting' THEN 'starting'
                               WHEN pgtopic.is_held(w.hold_until) THEN 'holding'
                               WHEN EXISTS (SELECT FROM pgtopic.webhook_samples s
                                             WHERE s.webhook_id = w.id AND s.failing_since IS NOT NULL) THEN 'failing'
                               ELSE 'active' END)
     ORDER BY w.id
     LIMIT $3::bigint
)
