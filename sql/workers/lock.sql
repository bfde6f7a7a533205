-- Take the lock that says an incarnation lives; it is held until its session ends.
-- Parameters: class, key. Returns: nothing. Locks: advisory (class, key), for the session.
SELECT pg_advisory_lock($1, $2)
