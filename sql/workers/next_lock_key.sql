-- A lock key for a new worker incarnation, and the lock's class.
-- Parameters: none. Returns: class, key. Locks: none.
SELECT pgtopic.stripe_class(), nextval('pgtopic.worker_lock_keys')::integer
