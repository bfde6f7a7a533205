-- Try to take the lock that says that an incarnation lives. It is held until the session ends.
-- Parameters: class, key. Returns: whether it was free. Locks: advisory (class, key), for the
-- session.
SELECT pg_try_advisory_lock($1, $2)
