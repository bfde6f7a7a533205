-- ----------------------------------------------------------------------
-- bench/insert_and_notify: the smallest way to tell a listener about a row: a
-- plain insert and a NOTIFY with its payload, in one transaction.
--
-- Parameters: $1 topic id, $2 partition key, $3 payload, which must fit into a
--             notification (8,000 bytes), $4 channel.
-- Returns:    the row's id. The notification is the id, a space, the payload.
-- Locks:      the new row; the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
WITH inserted AS (
    INSERT INTO pgtopic.bench_plain (topic_id, partition_key, payload) VALUES ($1::bigint, $2::text, $3::text::json)
    RETURNING id
)
SELECT id FROM inserted, pg_notify($4::text, id || ' ' || $3::text)
