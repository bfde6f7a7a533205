-- Call pgtopic.cancel_deliveries, which says what it does.
-- Parameters: $1 webhook id, $2 message ids, $3 reason, $4 whether to wait for stripes, $5 who asks
-- for it.
SELECT * FROM pgtopic.cancel_deliveries($1::bigint, $2::bigint[], $3::text, $4::boolean, $5::text)
