-- Tell the other workers to poll.
-- Parameters: the schema's name, which is the channel; the word. Returns: nothing.
-- Locks: the commit takes the cluster's notification lock.
SELECT pg_notify($1, $2)
