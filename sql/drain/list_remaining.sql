-- ----------------------------------------------------------------------
-- drain/list_remaining: the webhooks that are owed something, and whether it can
-- move.
--
-- Deliveries are counted lane by lane, as in webhooks/count_owed. The count
-- stops at $3.
--
-- Parameters: $1 topic id or null, $2 webhook id or null, $3 where counting
--             stops, $4 the LIKE patterns of the topics that may be seen, or
--             null for all.
-- Returns:    one row for each such webhook, by rising id. moves: a lane that
--             is not halted owes something. halted_lanes stops at $3, too.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.id, w.name, t.name AS topic, w.state = 'starting' AS starting, w.paused, w.disabled_reason IS NOT NULL AS disabled,
       t.paused IS NOT DISTINCT FROM 'hold' AS held, owed.count AS owed, halted.count AS halted_lanes,
       moves.found IS NOT NULL AS moves
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
 CROSS JOIN LATERAL (
    SELECT true AS found FROM pgtopic.deliveries d WHERE d.webhook_id = w.id LIMIT 1) owes
 CROSS JOIN LATERAL (
    SELECT count(*)
      FROM (SELECT
              FROM (SELECT l.lane, l.position FROM pgtopic.lanes l WHERE l.webhook_id = w.id LIMIT $3::bigint) l
             CROSS JOIN LATERAL (SELECT
                                   FROM pgtopic.deliveries d
                                  WHERE d.webhook_id = w.id AND d.lane = l.lane AND d.message_id > l.position
                                  LIMIT $3::bigint) d
             LIMIT $3::bigint) owed) owed
 CROSS JOIN LATERAL (
    SELECT count(*)
      FROM (SELECT FROM pgtopic.lanes l WHERE l.webhook_id + 0 = w.id AND l.due_at = 'infinity' LIMIT $3::bigint) halted) halted
  LEFT JOIN LATERAL (
    SELECT true AS found
      FROM pgtopic.lanes l
     WHERE l.webhook_id = w.id AND NOT l.halted
       AND EXISTS (SELECT FROM pgtopic.deliveries d
                    WHERE d.webhook_id = w.id AND d.lane = l.lane AND d.message_id > l.position)
     LIMIT 1) moves ON true
 WHERE ($1::bigint IS NULL OR w.topic_id = $1::bigint) AND ($2::bigint IS NULL OR w.id = $2::bigint)
   AND ($4::text[] IS NULL OR t.name LIKE ANY ($4::text[]))
 ORDER BY w.id
