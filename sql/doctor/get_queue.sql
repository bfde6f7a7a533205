-- ----------------------------------------------------------------------
-- doctor/get_queue: how full the queue of notifications is.
--
-- Parameters: none. Returns: 0 to 1. Locks: none.
-- ----------------------------------------------------------------------
SELECT pg_notification_queue_usage() AS usage
