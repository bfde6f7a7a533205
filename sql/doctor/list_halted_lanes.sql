-- ----------------------------------------------------------------------
-- doctor/list_halted_lanes: lanes that are halted.
--
-- Each webhook is looked at by the index of what is due.
--
-- Parameters: $1 how many at most.
-- Returns:    one row for each lane.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.name || ':' || w.name AS webhook, l.partition_key, l.head_message_id AS message_id, t.ordering <> 'partition' AS unordered,
       l.failures, l.last_error, NULL::timestamptz AS since
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
 CROSS JOIN LATERAL (
    SELECT l.*
      FROM pgtopic.lanes l
     WHERE l.webhook_id + 0 = w.id AND l.due_at = 'infinity' AND l.halted
     ORDER BY l.due_at
     LIMIT $1::bigint) l
 LIMIT $1::bigint
