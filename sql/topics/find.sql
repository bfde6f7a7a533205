-- ----------------------------------------------------------------------
-- topics/find: the id and the name of a topic.
--
-- Parameters: $1 id or null, $2 name or null.
-- Returns:    both, or nothing if there is no such topic.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.id, t.name FROM pgtopic.topics t WHERE t.id = $1::bigint OR t.name = $2::text
