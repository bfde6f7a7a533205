-- Delete some lanes, and all dead letters, of webhooks that were deleted.
-- Parameters: how many lanes at most. Returns: nothing; the deleted lanes are counted.
-- Locks: the lanes, SKIP LOCKED; the dead letters.
WITH RECURSIVE held (webhook_id) AS (
    SELECT min(webhook_id) FROM pgtopic.lanes
     UNION ALL
    SELECT (SELECT min(l.webhook_id) FROM pgtopic.lanes l WHERE l.webhook_id > held.webhook_id)
      FROM held
     WHERE held.webhook_id IS NOT NULL
), gone AS MATERIALIZED (
    SELECT h.webhook_id FROM held h
     WHERE h.webhook_id IS NOT NULL AND NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = h.webhook_id)
), doomed AS MATERIALIZED (
    SELECT l.webhook_id, l.lane
      FROM gone
     CROSS JOIN LATERAL (
        SELECT l.webhook_id, l.lane
          FROM pgtopic.lanes l
         WHERE l.webhook_id = gone.webhook_id
         ORDER BY l.lane
         LIMIT $1
           FOR UPDATE SKIP LOCKED) l
     LIMIT $1
), dead_letters_gone AS (
    DELETE FROM pgtopic.dead_letters x
     WHERE NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = x.webhook_id)
)
DELETE FROM pgtopic.lanes l
 USING doomed x
 WHERE l.webhook_id = x.webhook_id AND l.lane = x.lane
