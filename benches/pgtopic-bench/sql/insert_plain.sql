-- ----------------------------------------------------------------------
-- insert_plain: what an application without pgtopic does.
--
-- Parameters: $1 topic id, $2 partition key, $3 payload.
-- Returns:    the row's id.
-- Locks:      the new row.
-- ----------------------------------------------------------------------
INSERT INTO public.bench_plain (topic_id, partition_key, payload) VALUES ($1::bigint, $2::text, $3::text::json) RETURNING id
