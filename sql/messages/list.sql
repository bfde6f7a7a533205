-- ----------------------------------------------------------------------
-- messages/list: a page of a topic's messages, newest first.
--
-- Goes down the messages, of whatever topic. One page looks at no more than $5
-- of them.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 the id below which
--             the page begins, $4 limit, $5 the most messages to look at,
--             $6 partition key, $7 type, $8 from which time and $9 until which
--             time, each or null.
-- Returns:    messages without payloads. If the page is short, but more may
--             follow, scanned_to is the id that was looked at last; else null.
--             One row with a null id if the page is empty. Nothing if there is
--             no such topic.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT m.id, m.partition_key, m.type, m.idempotency_key, m.created_at,
       CASE WHEN count(m.id) OVER () < $4::bigint
            THEN (SELECT s.id FROM pgtopic.messages s WHERE s.id < $3::bigint
                   ORDER BY s.id DESC OFFSET $5::bigint - 1 LIMIT 1)
       END AS scanned_to
  FROM pgtopic.topics t
  LEFT JOIN LATERAL (SELECT r.id, r.partition_key, r.type, r.idempotency_key, r.created_at
                       FROM (SELECT s.id, s.topic_id, s.partition_key, s.type, s.idempotency_key, s.created_at
                               FROM pgtopic.messages s
                              WHERE s.id < $3::bigint
                              ORDER BY s.id DESC
                              LIMIT $5::bigint) r
                      WHERE r.topic_id = t.id
                        AND ($6::text IS NULL OR r.partition_key = $6::text)
                        AND ($7::text IS NULL OR r.type = $7::text)
                        AND ($8::timestamptz IS NULL OR r.created_at >= $8::timestamptz)
                        AND ($9::timestamptz IS NULL OR r.created_at < $9::timestamptz)
                      ORDER BY r.id DESC
                      LIMIT $4::bigint) m ON true
 WHERE t.id = $1::bigint OR t.name = $2::text
 ORDER BY m.id DESC
