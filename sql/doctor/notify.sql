-- ----------------------------------------------------------------------
-- doctor/notify: send a notification that only the asking process waits for.
--
-- Parameters: $1 the channel. Returns: nothing of use.
-- Locks:      the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
SELECT pg_notify($1::text, '')::text
