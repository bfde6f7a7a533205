-- ----------------------------------------------------------------------
-- deliveries/list_owed: a page of what one webhook is owed, lane by lane, the
-- oldest message of a lane first.
--
-- Goes through the lanes. One page looks at no more than $8 of them, and at no
-- more than $9 deliveries.
--
-- Parameters: $1 webhook id, $2 status: pending, in_flight, retrying or halted;
--             $3 partition key, $4 type, each or null; $5 and $6 the lane and
--             the message id after which the page begins; $7 limit.
-- Returns:    deliveries, each with its lane. If the page is short, but more
--             may follow, scanned_lane and scanned_to are the lane and the
--             message id that were looked at last; else null. One row with a
--             null message_id if the page is empty.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH lanes AS MATERIALIZED (
    SELECT l.*
      FROM pgtopic.lanes l
     WHERE l.webhook_id = $1::bigint AND l.lane >= $5::bigint
       AND ($3::text IS NULL
            OR l.lane = (SELECT hashtextextended($3::text, w.topic_id) FROM pgtopic.webhooks w WHERE w.id = $1::bigint)
            OR l.stripe IS NULL AND l.partition_key = $3::text)
     ORDER BY l.lane
     LIMIT $8::bigint
), looked AS MATERIALIZED (
    SELECT l.lane, d.message_id
      FROM (SELECT l.* FROM lanes l
             WHERE CASE $2::text WHEN 'halted' THEN l.halted
                                 WHEN 'in_flight' THEN l.claimed_by IS NOT NULL
                                 WHEN 'retrying' THEN l.failures > 0 AND NOT l.halted
                                 ELSE NOT l.halted END
             ORDER BY l.lane) l
     CROSS JOIN LATERAL (
        SELECT d.message_id
          FROM pgtopic.deliveries d
         WHERE d.webhook_id = l.webhook_id AND d.lane = l.lane
           AND d.message_id > CASE l.lane WHEN $5::bigint THEN greatest(l.position, $6::bigint) ELSE l.position END
           AND ($2::text <> 'retrying' OR d.message_id <= coalesce(l.batch_last, l.head_message_id))
         ORDER BY d.message_id
         LIMIT CASE $2::text WHEN 'in_flight' THEN 1 ELSE $9::bigint END) d
     LIMIT $9::bigint
)
SELECT d.*, scanned.lane AS scanned_lane, scanned.message_id AS scanned_to
  FROM (SELECT) one
  LEFT JOIN LATERAL (
    SELECT w.id AS webhook_id, w.name AS webhook, t.name AS topic, m.id AS message_id, m.partition_key, m.type, m.created_at,
           m.lane, s.*
      FROM looked x
     CROSS JOIN LATERAL (SELECT m.* FROM pgtopic.messages m WHERE m.id = x.message_id LIMIT 1) m
     CROSS JOIN LATERAL (SELECT w.id, w.name FROM pgtopic.webhooks w WHERE w.id = $1::bigint LIMIT 1) w
     CROSS JOIN LATERAL (SELECT t.name FROM pgtopic.topics t WHERE t.id = m.topic_id LIMIT 1) t
     CROSS JOIN LATERAL pgtopic.delivery_state($1::bigint, m.lane, m.id) s
     WHERE s.status = $2::text
       AND ($4::text IS NULL OR m.type = $4::text)
     LIMIT $7::bigint) d ON true
  LEFT JOIN LATERAL (
    SELECT s.lane, s.message_id
      FROM (SELECT looked.lane, looked.message_id, (SELECT count(*) FROM looked) >= $9::bigint AS full FROM looked
            UNION ALL
            SELECT lanes.lane, 9223372036854775807, (SELECT count(*) FROM lanes) >= $8::bigint FROM lanes) s
     WHERE s.full
       -- If deliveries were left out, the page ends at the last of those that were looked at.
       AND (s.message_id < 9223372036854775807 OR (SELECT count(*) FROM looked) < $9::bigint)
     ORDER BY s.lane DESC, s.message_id DESC
     LIMIT 1) scanned ON true
