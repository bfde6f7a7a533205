-- Tell the other workers to poll.
-- Parameters: the channel (the schema's name), the payload. Returns: nothing.
-- Locks: the commit takes the cluster's notification lock.
SELECT pg_notify($1, $2)
