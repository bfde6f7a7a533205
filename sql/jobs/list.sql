-- ----------------------------------------------------------------------
-- jobs/list: a page of the jobs, newest first.
--
-- Parameters: $1 kind or null, $2 state or null, $3 webhook id or null, $4 the
--             id below which the page begins, $5 limit, $6 the LIKE patterns of
--             the topics that may be seen, or null for all. Jobs that are about
--             no topic are shown only to those who may see all.
-- Returns:    j: jobs.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH j AS (
    SELECT *
      FROM pgtopic.jobs j
     WHERE j.id < $4::bigint AND ($1::text IS NULL OR j.kind = $1::text) AND ($2::text IS NULL OR j.state = $2::text)
       AND ($3::bigint IS NULL OR j.webhook_id = $3::bigint)
       AND ($6::text[] IS NULL
            OR EXISTS (SELECT FROM pgtopic.topics t WHERE t.id = j.topic_id AND t.name LIKE ANY ($6::text[])))
     ORDER BY j.id DESC
     LIMIT $5::bigint
)
