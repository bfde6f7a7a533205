-- ----------------------------------------------------------------------
-- webhooks/count_owed: how much a webhook is owed.
--
-- Deliveries are counted lane by lane, from each lane's position. So the count
-- walks over no dead rows. Both counts stop at $2.
--
-- Parameters: $1 webhook id, $2 where counting stops.
-- Returns:    its backlog and its dead letters.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT (SELECT count(*)
          FROM (SELECT
                  FROM (SELECT l.lane, l.position
                          FROM pgtopic.lanes l
                         WHERE l.webhook_id = $1::bigint
                         LIMIT $2::bigint) l
                 CROSS JOIN LATERAL (SELECT
                                       FROM pgtopic.deliveries d
                                      WHERE d.webhook_id = $1::bigint AND d.lane = l.lane AND d.message_id > l.position
                                      LIMIT $2::bigint) d
                 LIMIT $2::bigint) owed) AS backlog,
       (SELECT count(*)
          FROM (SELECT
                  FROM pgtopic.dead_letters x
                 WHERE x.webhook_id = $1::bigint
                 LIMIT $2::bigint) dead) AS dead_letters
