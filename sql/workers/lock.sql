-- Take the lock that says that an incarnation lives. It is held until the session ends.
-- Parameters: class, key. Returns: nothing. Locks: advisory (class, key), for the session.
SELECT pg_advisory_lock($1, $2)
