-- Listen on a worker's own channel.
-- Parameters: the worker. Returns: nothing; see listen_for_messages in the migrations. Locks: the worker's row.
SELECT pgtopic.listen_for_messages($1)
