-- ----------------------------------------------------------------------
-- describe_owed: why something is still owed, in words.
--
-- Parameters: $1 webhook id.
-- Returns:    one text. "lanes without a row": deliveries that nobody would
--             ever claim. "behind": deliveries at or below their lane's
--             position.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT format('%s deliveries owed, %s of lanes without a row, %s behind; %s lanes: %s ready, %s claimed, %s waiting, earliest due %s from now; '
              'first owed: %s',
              count(*), count(*) FILTER (WHERE l.lane IS NULL), count(*) FILTER (WHERE d.message_id <= l.position),
              count(DISTINCT l.lane),
              count(DISTINCT l.lane) FILTER (WHERE l.claimed_by IS NULL AND l.due_at <= clock_timestamp()),
              count(DISTINCT l.lane) FILTER (WHERE l.claimed_by IS NOT NULL),
              count(DISTINCT l.lane) FILTER (WHERE l.claimed_by IS NULL AND l.due_at > clock_timestamp()),
              min(l.due_at) - clock_timestamp(),
              (SELECT row_to_json(f)
                 FROM (SELECT o.message_id, o.lane, h.position, h.due_at, h.claimed_by, h.token, h.failures, h.generation
                         FROM deliveries o
                         LEFT JOIN lanes h ON h.webhook_id = o.webhook_id AND h.lane = o.lane
                        WHERE o.webhook_id = $1::bigint
                        ORDER BY o.message_id
                        LIMIT 1) f))
  FROM deliveries d
  LEFT JOIN lanes l ON l.webhook_id = d.webhook_id AND l.lane = d.lane
 WHERE d.webhook_id = $1::bigint
