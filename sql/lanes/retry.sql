-- Call pgtopic.retry_lanes, which says what it does.
-- Parameters: $1 webhook id, $2 lanes, $3 who asks for it.
SELECT pgtopic.retry_lanes($1::bigint, $2::bigint[], $3::text)
