-- ----------------------------------------------------------------------
-- bench/fill: publish many messages in one transaction, spread evenly over
-- lanes. They are inserted in the order of the stripes, as bulk loads should
-- be.
--
-- Parameters: $1 topic id, $2 first number, $3 last number, $4 lanes, $5 text
--             that fills the payloads.
-- Returns:    how many.
-- Locks:      the stripes of the partitions, to the end of the transaction.
-- ----------------------------------------------------------------------
INSERT INTO pgtopic.messages (topic_id, partition_key, payload)
SELECT $1::bigint, 'lane-' || n.number % $4::bigint,
       format('{"event": "order.created", "number": %s, "details": "%s"}', n.number, $5::text)::json
  FROM generate_series($2::bigint, $3::bigint) AS n (number)
 ORDER BY pgtopic.stripe($1::bigint, 'lane-' || n.number % $4::bigint), n.number
