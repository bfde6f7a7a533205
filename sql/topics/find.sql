-- ----------------------------------------------------------------------
-- topics/find: the id of a topic.
--
-- Parameters: $1 id or null, $2 name or null.
-- Returns:    its id, or nothing if there is no such topic.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.id FROM pgtopic.topics t WHERE t.id = $1::bigint OR t.name = $2::text
