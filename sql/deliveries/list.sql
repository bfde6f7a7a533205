-- ----------------------------------------------------------------------
-- deliveries/list: a page of what a webhook was or is owed, newest first.
--
-- Goes down the messages, of whatever topic. One page looks at no more than $4
-- of them.
--
-- Parameters: $1 webhook id, $2 the message id below which the page begins, $3
--             limit, $4 the most messages to look at, $5 status or null, $6
--             partition key or null.
-- Returns:    deliveries. If the page is short, but more may follow, scanned_to
--             is the message id that was looked at last; else null. One row
--             with a null message_id if the page is empty. Nothing if there is
--             no such webhook.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT d.*,
       CASE WHEN count(d.message_id) OVER () < $3::bigint
            THEN (SELECT m.id FROM pgtopic.messages m WHERE m.id < $2::bigint
                   ORDER BY m.id DESC OFFSET $4::bigint - 1 LIMIT 1)
       END AS scanned_to
  FROM pgtopic.webhooks w
  LEFT JOIN LATERAL (
    SELECT m.id AS message_id, m.partition_key, s.status, s.attempts, s.last_status_code, s.last_error,
           s.next_attempt_at, m.created_at, s.settled_at
      FROM (SELECT m.id, m.topic_id, m.partition_key, m.created_at, m.lane
              FROM pgtopic.messages m
             WHERE m.id < $2::bigint
             ORDER BY m.id DESC
             LIMIT $4::bigint) m
     CROSS JOIN LATERAL pgtopic.delivery_state(w.id, m.lane, m.id) s
     WHERE m.topic_id = w.topic_id
       AND ($6::text IS NULL OR m.partition_key = $6::text)
       AND ($5::text IS NULL OR s.status = $5::text)
     ORDER BY m.id DESC
     LIMIT $3::bigint) d ON true
 WHERE w.id = $1::bigint
 ORDER BY d.message_id DESC
