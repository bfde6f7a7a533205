-- ----------------------------------------------------------------------
-- read_plain: a row's payload by its key, the least that a process must
-- ask for which was told of the row alone.
--
-- Parameters: $1 id.
-- Returns:    one row.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT payload::text FROM public.bench_plain WHERE id = $1::bigint
