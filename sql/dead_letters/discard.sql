-- Call pgtopic.discard_dead_letters, which says what it does.
-- Parameters: $1 the ids.
SELECT * FROM pgtopic.discard_dead_letters($1::bigint[])
