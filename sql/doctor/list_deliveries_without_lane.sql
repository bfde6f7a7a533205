-- ----------------------------------------------------------------------
-- doctor/list_deliveries_without_lane: lanes that owe messages and have no row.
--
-- A loose scan of the primary key of deliveries: one probe for each lane,
-- however many messages it owes. What is owed to webhooks that were deleted is
-- left out: the leader deletes it.
--
-- Parameters: $1 at how many lanes to look, $2 how many rows at most.
-- Returns:    webhook, lane and first message of each, and how many lanes were
--             looked at; one row with nulls if none is found.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH RECURSIVE owing AS (
    (SELECT d.webhook_id, d.lane, d.message_id, 1 AS number
       FROM pgtopic.deliveries d
      ORDER BY d.webhook_id, d.lane, d.message_id
      LIMIT 1)
    UNION ALL
    SELECT n.webhook_id, n.lane, n.message_id, o.number + 1
      FROM owing o
     CROSS JOIN LATERAL (SELECT d.webhook_id, d.lane, d.message_id
                           FROM pgtopic.deliveries d
                          WHERE (d.webhook_id, d.lane) > (o.webhook_id, o.lane)
                          ORDER BY d.webhook_id, d.lane, d.message_id
                          LIMIT 1) n
     WHERE o.number < $1::integer
)
SELECT s.webhook_id, s.lane, s.message_id, (SELECT count(*) FROM owing) AS looked_at
  FROM (SELECT) AS one
  LEFT JOIN LATERAL (
    SELECT o.webhook_id, o.lane, o.message_id
      FROM owing o
     WHERE NOT EXISTS (SELECT FROM pgtopic.lanes l WHERE l.webhook_id = o.webhook_id AND l.lane = o.lane)
       AND EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = o.webhook_id)
     LIMIT $2::bigint) s ON true
