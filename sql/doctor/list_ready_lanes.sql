-- ----------------------------------------------------------------------
-- doctor/list_ready_lanes: lanes that may be claimed and are not, the longest
-- ready first.
--
-- A claim leaves due_at as it was. So of each webhook the lanes that were due
-- first are walked, and those that a worker holds are left out.
--
-- Parameters: $1 how many at most, $2 how many of each webhook.
-- Returns:    one row for each lane; since: when it became ready.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.name || ':' || w.name AS webhook, l.partition_key, d.message_id, t.ordering <> 'partition' AS unordered,
       l.failures, l.last_error, l.due_at AS since
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
 CROSS JOIN LATERAL (
    SELECT l.*
      FROM pgtopic.lanes l
     WHERE l.webhook_id + 0 = w.id AND l.due_at < statement_timestamp() AND l.claimed_by IS NULL
     ORDER BY l.due_at
     LIMIT $2::bigint) l
 CROSS JOIN LATERAL (
    SELECT d.message_id
      FROM pgtopic.deliveries d
     WHERE d.webhook_id = w.id AND d.lane = l.lane AND d.message_id > l.position
     ORDER BY d.message_id
     LIMIT 1) d
 WHERE w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL
   AND t.paused IS DISTINCT FROM 'hold' AND NOT pgtopic.is_held(w.hold_until)
   AND NOT EXISTS (SELECT FROM pgtopic.breakers b WHERE b.webhook_id = w.id AND b.state = 'open')
 ORDER BY l.due_at
 LIMIT $1::bigint
