-- ----------------------------------------------------------------------
-- messages/publish_batch: publish many messages at once.
--
-- Rows are inserted by stripe, so that two batches cannot deadlock, and within
-- a stripe in the order of the request.
--
-- Ids are given in the order of insertion. So the n-th inserted row has the
-- n-th smallest id. The ids are put into an array and found there by n. A join
-- over unnest would do the same, but is planned for ten rows and may have ten
-- thousand.
--
-- Parameters: $1 topic id or null, $2 topic name or null, and one array each:
--             $3 partition keys, $4 payloads, $5 headers, $6 idempotency keys, $7 types.
--             Elements of all arrays but $4 may be null.
-- Returns:    the ids in the order of the request, and the topic's name. If an
--             idempotency key was used before, in the topic or in this batch,
--             the id of its first use. Nothing if there is no such topic.
-- Raises:     as messages/publish.
-- Locks:      the partitions' stripes, to the end of the statement.
-- ----------------------------------------------------------------------
WITH topic AS (
    SELECT t.id, t.name FROM pgtopic.topics t WHERE t.id = $1::bigint OR t.name = $2::text
), request AS (
    SELECT t.id AS topic_id, t.name AS topic, r.place, coalesce(r.partition_key, 'default') AS partition_key, r.payload, r.headers,
           r.idempotency_key, r.type, earlier.id AS earlier_id,
           pgtopic.stripe(t.id, coalesce(r.partition_key, 'default')) AS stripe,
           earlier.id IS NULL
               AND (r.idempotency_key IS NULL
                    OR row_number() OVER (PARTITION BY r.idempotency_key ORDER BY r.place) = 1) AS is_new
      FROM topic t
     CROSS JOIN unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
                WITH ORDINALITY AS r (partition_key, payload, headers, idempotency_key, type, place)
      LEFT JOIN LATERAL (SELECT m.id
                           FROM pgtopic.messages m
                          WHERE r.idempotency_key IS NOT NULL
                            AND m.topic_id = t.id AND m.idempotency_key = r.idempotency_key
                          LIMIT 1) earlier ON true
), ranked AS (
    SELECT r.*, count(*) FILTER (WHERE r.is_new) OVER (ORDER BY r.stripe, r.place) AS rank
      FROM request r
), published AS (
    INSERT INTO pgtopic.messages (topic_id, partition_key, type, payload, headers, idempotency_key)
    SELECT r.topic_id, r.partition_key, r.type, r.payload::json, r.headers::json, r.idempotency_key
      FROM ranked r
     WHERE r.is_new
     ORDER BY r.rank
    RETURNING id
), given AS (
    SELECT array_agg(p.id ORDER BY p.id) AS ids FROM published p
), resolved AS (
    SELECT r.place, r.topic, r.idempotency_key,
           CASE WHEN r.is_new THEN (SELECT ids FROM given)[r.rank] ELSE r.earlier_id END AS id
      FROM ranked r
)
SELECT CASE WHEN r.idempotency_key IS NULL THEN r.id
            ELSE min(r.id) OVER (PARTITION BY r.idempotency_key) END AS id,
       r.topic
  FROM resolved r
 ORDER BY r.place
