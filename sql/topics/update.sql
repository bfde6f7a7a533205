-- ----------------------------------------------------------------------
-- topics/update: change a topic.
--
-- Parameters: $1 id or null, $2 name or null, $3 whether to change the
--             retention, $4 the new one in seconds or null, $5 whether to change
--             the pause, $6 the new one or null, $7 who changes it.
-- Returns:    the topic as it is now; nothing if there is no such topic.
-- Locks:      the topic's row.
-- ----------------------------------------------------------------------
UPDATE pgtopic.topics AS t
   SET retention = CASE WHEN $3::boolean THEN $4::bigint * interval '1 second' ELSE t.retention END,
       paused    = CASE WHEN $5::boolean THEN $6::text ELSE t.paused END
 WHERE (t.id = $1::bigint OR t.name = $2::text)
   AND set_config('pgtopic_session.changed_by', $7::text, true) IS NOT NULL
RETURNING t.id, t.name, t.ordering, extract(epoch FROM t.retention)::bigint AS retention_seconds, t.paused, t.created_at
