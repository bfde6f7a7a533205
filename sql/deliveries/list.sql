-- ----------------------------------------------------------------------
-- deliveries/list: a page of what webhooks were or are owed, newest first.
--
-- Goes down the messages, of whatever topic. One page looks at no more than
-- $10 of them, and at the deliveries of no more than $11. It stops sooner when
-- it has looked at 2,000 pairs of a message and a webhook.
--
-- Parameters: $1 webhook id, or null for all; $2 the LIKE patterns of the
--             topics that may be seen, or null for all; $3 status, $4 partition
--             key, $5 type, $6 topic id, each or null; $7 and $8 the message id
--             and the webhook id after which the page begins; $9 limit, $10 the
--             most messages to look at, $11 the most whose deliveries to look
--             at.
-- Returns:    deliveries. If the page is short, but more may follow, scanned_to
--             is the message id that was looked at last, with all webhooks
--             (scanned_webhook is the largest number); else null. One row with
--             a null message_id if the page is empty.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH wanted AS MATERIALIZED (
    SELECT m.*
      FROM (SELECT m.id, m.topic_id, m.partition_key, m.type, m.created_at, m.lane
              FROM pgtopic.messages m
             WHERE m.id <= $7::bigint
             ORDER BY m.id DESC
             LIMIT $10::bigint) m
     WHERE ($4::text IS NULL OR m.partition_key = $4::text)
       AND ($5::text IS NULL OR m.type = $5::text)
       AND ($6::bigint IS NULL OR m.topic_id = $6::bigint)
     LIMIT $11::bigint
), looked AS MATERIALIZED (
    SELECT m.*
      FROM (SELECT m.*, sum(w.webhooks) OVER (ORDER BY m.id DESC) - w.webhooks AS pairs_before
              FROM wanted m
             CROSS JOIN LATERAL (SELECT count(*) AS webhooks FROM pgtopic.webhooks w
                                  WHERE w.topic_id = m.topic_id AND ($1::bigint IS NULL OR w.id = $1::bigint)) w) m
     WHERE m.pairs_before < 2000
)
SELECT d.*,
       CASE WHEN count(d.message_id) OVER () < $9::bigint
            THEN coalesce((SELECT min(l.id) FROM looked l
                           HAVING count(*) = $11::bigint OR count(*) < (SELECT count(*) FROM wanted)),
                          (SELECT m.id FROM pgtopic.messages m WHERE m.id <= $7::bigint
                            ORDER BY m.id DESC OFFSET $10::bigint - 1 LIMIT 1))
       END AS scanned_to, 9223372036854775807 AS scanned_webhook
  FROM (SELECT) one
  LEFT JOIN LATERAL (
    SELECT w.id AS webhook_id, w.name AS webhook, t.name AS topic, m.id AS message_id, m.partition_key, m.type, m.created_at, s.*
      FROM (SELECT l.* FROM looked l ORDER BY l.id DESC) m
     CROSS JOIN LATERAL (SELECT t.name FROM pgtopic.topics t WHERE t.id = m.topic_id LIMIT 1) t
     CROSS JOIN LATERAL (SELECT w.id, w.name FROM pgtopic.webhooks w
                          WHERE w.topic_id = m.topic_id AND ($1::bigint IS NULL OR w.id = $1::bigint)
                          ORDER BY w.id OFFSET 0) w
     CROSS JOIN LATERAL pgtopic.delivery_state(w.id, m.lane, m.id) s
     WHERE (m.id < $7::bigint OR w.id > $8::bigint)
       AND ($2::text[] IS NULL OR t.name LIKE ANY ($2::text[]))
       AND ($3::text IS NULL OR s.status = $3::text)
     ORDER BY m.id DESC, w.id
     LIMIT $9::bigint) d ON true
 ORDER BY d.message_id DESC, d.webhook_id
