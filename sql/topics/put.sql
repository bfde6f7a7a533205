-- ----------------------------------------------------------------------
-- topics/put: create a topic, or change the one of that name.
--
-- Parameters: $1 name, $2 ordering or null, $3 whether to change the
--             retention, $4 the new one in seconds or null, $5 whether to change
--             the pause, $6 the new one or null, $7 who does it. What is not to
--             change, and a null ordering, are the defaults of a new topic.
-- Returns:    one row: the ordering of a topic that was there before, else
--             null; and the topic as it is now. If the orderings differ, nothing
--             is written, and the topic's columns are null.
-- Raises:     23505 (topics_name_key) somebody has just created it.
-- Locks:      the topic's row.
-- ----------------------------------------------------------------------
WITH known AS (
    SELECT t.id, t.ordering FROM pgtopic.topics t WHERE t.name = $1::text
), changed AS (
    UPDATE pgtopic.topics AS t
       SET retention = CASE WHEN $3::boolean THEN $4::bigint * interval '1 second' ELSE t.retention END,
           paused    = CASE WHEN $5::boolean THEN $6::text ELSE t.paused END
      FROM known k
     WHERE t.id = k.id AND ($2::text IS NULL OR k.ordering = $2::text)
       AND set_config('pgtopic_session.changed_by', $7::text, true) IS NOT NULL
    RETURNING t.*
), made AS (
    INSERT INTO pgtopic.topics (name, ordering, retention, paused)
    SELECT $1::text, coalesce($2::text, 'partition'), $4::bigint * interval '1 second', $6::text
     WHERE NOT EXISTS (SELECT FROM known)
    RETURNING *
)
SELECT (SELECT k.ordering FROM known k) AS known_ordering, t.id, t.name, t.ordering,
       extract(epoch FROM t.retention)::bigint AS retention_seconds, t.paused, t.created_at
  FROM (SELECT) AS one
  LEFT JOIN (SELECT * FROM changed UNION ALL SELECT * FROM made) t ON true
