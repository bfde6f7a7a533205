-- Say that a worker lives and listens.
-- Parameters: worker, requests in flight, lease in seconds (null leaves its row alone), whether lanes may be handed over to it.
-- Returns: microseconds for which publishers do not NOTIFY; the last id that was given to a message, null before the first.
-- Locks: the worker's row.
SELECT pgtopic.worker_heartbeat($1, $2, $3, $4), pg_catalog.pg_sequence_last_value('pgtopic.message_ids')
