-- ----------------------------------------------------------------------
-- topics/create: create a topic.
--
-- Parameters: $1 name, $2 ordering, $3 retention in seconds or null.
-- Returns:    the topic.
-- Raises:     23505 (topics_name_key) the name is taken.
-- Locks:      the new row only.
-- ----------------------------------------------------------------------
INSERT INTO pgtopic.topics AS t (name, ordering, retention)
VALUES ($1::text, $2::text, $3::bigint * interval '1 second')
RETURNING t.id, t.name, t.ordering, extract(epoch FROM t.retention)::bigint AS retention_seconds, t.paused, t.created_at
