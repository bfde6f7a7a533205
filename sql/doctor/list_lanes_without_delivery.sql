-- ----------------------------------------------------------------------
-- doctor/list_lanes_without_delivery: rows of lanes that owe nothing, and that
-- no worker takes: they are halted, or due for long or not for long yet.
--
-- Parameters: $1 at how many rows to look, $2 how many rows at most, $3 for how
--             many seconds a row may be due.
-- Returns:    webhook and lane of each, and how many rows were looked at; one
--             row with nulls if none is found.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH seen AS MATERIALIZED (
    SELECT l.webhook_id, l.lane, l.due_at, l.claimed_by
      FROM pgtopic.lanes l
     ORDER BY l.webhook_id, l.lane
     LIMIT $1::bigint
)
SELECT s.webhook_id, s.lane, (SELECT count(*) FROM seen) AS looked_at
  FROM (SELECT) AS one
  LEFT JOIN LATERAL (
    SELECT l.webhook_id, l.lane
      FROM seen l
     WHERE l.claimed_by IS NULL
       AND (l.due_at > clock_timestamp() OR l.due_at < clock_timestamp() - make_interval(secs => $3::float8))
       AND NOT EXISTS (SELECT FROM pgtopic.deliveries d WHERE d.webhook_id = l.webhook_id AND d.lane = l.lane)
       AND EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = l.webhook_id)
     LIMIT $2::bigint) s ON true
