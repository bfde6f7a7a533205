-- Call pgtopic.replay_deliveries, which says what it does.
-- Parameters: $1 webhook id, $2 message ids, $3 whether to wait for stripes.
SELECT * FROM pgtopic.replay_deliveries($1::bigint, $2::bigint[], $3::boolean)
