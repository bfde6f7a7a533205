-- ----------------------------------------------------------------------
-- tail/list_messages: the newest messages, of whatever topic, newest first.
--
-- Parameters: $1 the most messages, $2 the topics whose messages are shown.
-- Returns:    id and topic of each message; the rest is null unless the topic
--             is shown.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT m.id, m.topic_id, s.partition_key, s.type, s.created_at, s.size_bytes
  FROM (SELECT m.* FROM pgtopic.messages m ORDER BY m.id DESC LIMIT $1::bigint) m
  LEFT JOIN LATERAL (SELECT m.partition_key, m.type, m.created_at, m.size_bytes
                      WHERE m.topic_id = ANY ($2::bigint[])) s ON true
 ORDER BY m.id DESC
