-- ----------------------------------------------------------------------
-- bench/read_plain: a row's payload by its key. A process that was told only of
-- the row must ask at least this.
--
-- Parameters: $1 id.
-- Returns:    one row.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT payload::text FROM pgtopic.bench_plain WHERE id = $1::bigint
