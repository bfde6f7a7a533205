-- ----------------------------------------------------------------------
-- create_plain_table: a table with the columns of messages and nothing
-- else: no trigger, no fan-out, an id from a sequence. What publishing is
-- compared with.
--
-- Parameters: none.
-- Returns:    nothing. Raises 42P07 if it is there.
-- Locks:      the new table.
-- ----------------------------------------------------------------------
CREATE TABLE public.bench_plain (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic_id        bigint      NOT NULL,
    partition_key   text        NOT NULL DEFAULT 'default',
    payload         json        NOT NULL,
    headers         json,
    idempotency_key text,
    created_at      timestamptz NOT NULL DEFAULT now()
)
