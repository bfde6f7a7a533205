-- A lock key for a new incarnation, and the class of the lock.
-- Parameters: none. Returns: class, key. Locks: none.
SELECT pgtopic.stripe_class(), nextval('pgtopic.worker_lock_keys')::integer
