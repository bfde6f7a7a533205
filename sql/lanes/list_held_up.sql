-- ----------------------------------------------------------------------
-- lanes/list_held_up: lanes of a webhook that wait or are halted.
--
-- Parameters: $1 webhook id, $2 state ('waiting' or 'halted') or null for both,
--             $3 limit.
-- Returns:    the numbers of the lanes.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT l.lane
  FROM pgtopic.lanes l
 WHERE l.webhook_id + 0 = $1::bigint
   AND l.due_at > clock_timestamp()
   AND l.claimed_by IS NULL
   AND ($2::text IS NULL OR l.halted = ($2::text = 'halted'))
 ORDER BY l.due_at
 LIMIT $3::bigint
