-- ----------------------------------------------------------------------
-- lanes/list_news: what was published since the last look, of any topic.
--
-- Ids are given before they are committed: one that was passed over may show
-- up later, so the caller asks again for those it has not seen.
--
-- Parameters: $1 the highest id that was seen, or null for the newest message
--             alone; $2 ids below it that were not seen; $3 limit.
-- Returns:    ids and lanes; those above $1 in rising order.
-- Locks:      none.
-- ----------------------------------------------------------------------
(SELECT m.id, m.lane
   FROM pgtopic.messages m
  WHERE m.id > coalesce($1::bigint, (SELECT max(newest.id) - 1 FROM pgtopic.messages newest))
  ORDER BY m.id
  LIMIT $3::bigint)
UNION ALL
SELECT m.id, m.lane
  FROM unnest($2::bigint[]) AS missing (id)
 CROSS JOIN LATERAL (SELECT s.id, s.lane FROM pgtopic.messages s WHERE s.id = missing.id LIMIT 1) m
