-- Publish a message as an application does with SQL.
-- Parameters: topic's name, partition key, payload (JSON text). Returns: the message's id.
-- Locks: the partition's stripe, until the end of the transaction.
SELECT pgtopic.publish($1, $2, $3::text::json)
