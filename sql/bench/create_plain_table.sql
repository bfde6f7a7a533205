-- ----------------------------------------------------------------------
-- bench/create_plain_table: a table that publishing is compared with. It has
-- the columns of messages, but no trigger and no fan-out; the id is from a
-- sequence.
--
-- Parameters: none.
-- Returns:    nothing. Raises 42P07 if it is there.
-- Locks:      the new table.
-- ----------------------------------------------------------------------
CREATE TABLE pgtopic.bench_plain (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic_id        bigint      NOT NULL,
    partition_key   text        NOT NULL DEFAULT 'default',
    payload         json        NOT NULL,
    headers         json,
    idempotency_key text,
    created_at      timestamptz NOT NULL DEFAULT now()
)
