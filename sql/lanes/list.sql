-- ----------------------------------------------------------------------
-- lanes/list: a page of a webhook's lanes, the earliest due first.
--
-- One page looks at no more than $7 of them. due_at changes while lanes are
-- sent, so a lane may be missing from all pages, or be on two.
--
-- Parameters: $1 webhook id, $2 state or null, $3 partition key or null, $4 and
--             $5 the due_at (microseconds since 1970; the largest number is
--             infinity) and the lane after which the page begins, or null, $6
--             limit, $7 the most lanes to look at, $8 where counting what a
--             lane owes stops, $9 null, or on an unordered topic the number of
--             the only lane to return.
-- Returns:    lanes. cursor_due and lane are the keys of a lane. If the page is
--             short, but more may follow, scanned_due and scanned_lane are the
--             keys of the lane that was looked at last; else null. One row with
--             a null lane if the page is empty. Nothing if there is no such
--             webhook.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH webhook AS MATERIALIZED (
    SELECT w.id, w.name, t.name AS topic, t.ordering, hashtextextended($3::text, t.id) AS lane,
           CASE WHEN $4::bigint = 9223372036854775807 THEN 'infinity'
                ELSE '1970-01-01Z'::timestamptz + $4::bigint * interval '1 microsecond' END AS after,
           -- No lane of the state is due sooner.
           CASE $2::text WHEN 'halted' THEN 'infinity' WHEN 'waiting' THEN statement_timestamp() ELSE '-infinity' END AS earliest
      FROM pgtopic.webhooks w
      JOIN pgtopic.topics t ON t.id = w.topic_id
     WHERE w.id = $1::bigint
), page AS MATERIALIZED (
    SELECT l.*
      FROM webhook w
     CROSS JOIN LATERAL (
        SELECT l.*, s.state
          FROM (SELECT l.* FROM pgtopic.lanes l
                 WHERE l.webhook_id + 0 = w.id AND (w.ordering = 'none' OR $3::text IS NULL) AND $9::bigint IS NULL
                   AND l.due_at >= greatest(w.after, w.earliest)
                   AND ($4::bigint IS NULL OR (l.due_at, l.lane) > (w.after, $5::bigint))
                 ORDER BY l.due_at, l.lane
                 LIMIT $7::bigint) l
         CROSS JOIN LATERAL (SELECT CASE WHEN l.halted THEN 'halted'
                                         WHEN l.claimed_by IS NOT NULL THEN 'claimed'
                                         WHEN l.due_at > statement_timestamp() THEN 'waiting'
                                         ELSE 'ready' END AS state) s
         WHERE ($2::text IS NULL OR s.state = $2::text)
           AND ($3::text IS NULL OR l.partition_key = $3::text)
         LIMIT $6::bigint) l
    UNION ALL
    SELECT l.*
      FROM webhook w
     CROSS JOIN LATERAL (
        SELECT l.*, s.state
          FROM pgtopic.lanes l
         CROSS JOIN LATERAL (SELECT CASE WHEN l.halted THEN 'halted'
                                         WHEN l.claimed_by IS NOT NULL THEN 'claimed'
                                         WHEN l.due_at > statement_timestamp() THEN 'waiting'
                                         ELSE 'ready' END AS state) s
         WHERE l.webhook_id = w.id AND l.lane = CASE w.ordering WHEN 'partition' THEN w.lane ELSE $9::bigint END
           AND $4::bigint IS NULL
           AND ($2::text IS NULL OR s.state = $2::text)
         LIMIT 1) l
)
SELECT w.id AS webhook_id, w.name AS webhook, w.topic, p.lane, p.partition_key,
       CASE w.ordering WHEN 'none' THEN p.lane END AS message_id, p.state, d.message_id AS head_id, m.type AS head_type,
       m.created_at AS head_created_at, o.owed, f.failures,
       CASE WHEN f.failures > 0 THEN p.last_status_code END AS last_status_code,
       CASE WHEN f.failures > 0 THEN p.last_error_class END AS last_error_class,
       CASE WHEN f.failures > 0 THEN p.last_error END AS last_error,
       CASE WHEN isfinite(p.due_at) THEN p.due_at END AS due_at, p.claimed_by,
       CASE WHEN isfinite(p.due_at) THEN (extract(epoch FROM p.due_at) * 1000000)::bigint ELSE 9223372036854775807 END AS cursor_due,
       scanned.due AS scanned_due, scanned.lane AS scanned_lane
  FROM webhook w
  LEFT JOIN page p ON true
  LEFT JOIN LATERAL (SELECT d.message_id FROM pgtopic.deliveries d
                      WHERE d.webhook_id = p.webhook_id AND d.lane = p.lane AND d.message_id > p.position
                      ORDER BY d.message_id LIMIT 1) d ON true
  LEFT JOIN LATERAL (SELECT m.type, m.created_at FROM pgtopic.messages m WHERE m.id = d.message_id LIMIT 1) m ON true
  LEFT JOIN LATERAL (SELECT count(*) AS owed
                       FROM (SELECT FROM pgtopic.deliveries d
                              WHERE d.webhook_id = p.webhook_id AND d.lane = p.lane AND d.message_id > p.position
                              LIMIT $8::bigint) d) o ON true
  LEFT JOIN LATERAL (SELECT CASE WHEN d.message_id = p.head_message_id THEN p.failures ELSE 0 END AS failures) f ON true
  LEFT JOIN LATERAL (SELECT CASE WHEN isfinite(l.due_at) THEN (extract(epoch FROM l.due_at) * 1000000)::bigint
                                 ELSE 9223372036854775807 END AS due, l.lane
                       FROM pgtopic.lanes l
                      WHERE (SELECT count(*) FROM page) < $6::bigint
                        AND l.webhook_id + 0 = w.id AND (w.ordering = 'none' OR $3::text IS NULL) AND $9::bigint IS NULL
                        AND l.due_at >= greatest(w.after, w.earliest)
                        AND ($4::bigint IS NULL OR (l.due_at, l.lane) > (w.after, $5::bigint))
                      ORDER BY l.due_at, l.lane
                     OFFSET $7::bigint - 1 LIMIT 1) scanned ON true
 ORDER BY p.due_at, p.lane
