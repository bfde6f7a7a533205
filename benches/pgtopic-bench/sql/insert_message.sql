-- ----------------------------------------------------------------------
-- insert_message: publish as an application does.
--
-- Parameters: $1 topic id, $2 partition key, $3 payload.
-- Returns:    the message's id.
-- Locks:      the partition's stripe, to the end of the transaction.
-- ----------------------------------------------------------------------
INSERT INTO messages (topic_id, partition_key, payload) VALUES ($1::bigint, $2::text, $3::text::json) RETURNING id
