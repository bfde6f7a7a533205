-- ----------------------------------------------------------------------
-- topics/list: a page of topics, by rising id.
--
-- Parameters: $1 the id where the page before ended, $2 limit, $3 the LIKE
--             patterns of the names that may be seen, or null for all.
-- Returns:    topics.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.id, t.name, t.ordering, extract(epoch FROM t.retention)::bigint AS retention_seconds, t.paused, t.created_at
  FROM pgtopic.topics t
 WHERE t.id > $1::bigint
   AND ($3::text[] IS NULL OR t.name LIKE ANY ($3::text[]))
 ORDER BY t.id
 LIMIT $2::bigint
