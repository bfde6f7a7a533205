-- ----------------------------------------------------------------------
-- doctor/list_failing_lanes: lanes that failed and wait, those with the oldest
-- heads first.
--
-- statement_timestamp() and not clock_timestamp(): the index can be asked for the
-- first one alone.
--
-- A lane whose head was published long ago has failed often and waits long. So
-- of each webhook the lanes that are due last are looked at.
--
-- Parameters: $1 how many at most, also of each webhook.
-- Returns:    one row for each lane; since: when its head was published.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.name || ':' || w.name AS webhook, l.partition_key, l.head_message_id AS message_id, t.ordering <> 'partition' AS unordered,
       l.failures, l.last_error, m.published_at AS since
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
 CROSS JOIN LATERAL (
    SELECT l.*
      FROM pgtopic.lanes l
     WHERE l.webhook_id + 0 = w.id AND l.due_at < 'infinity' AND l.due_at > statement_timestamp()
     ORDER BY l.due_at DESC
     LIMIT $1::bigint) l
  JOIN pgtopic.messages m ON m.id = l.head_message_id
 WHERE l.failures > 0 AND l.claimed_by IS NULL
 ORDER BY m.published_at
 LIMIT $1::bigint
