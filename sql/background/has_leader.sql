-- Whether a worker that lives leads: only then background work is done. A worker that lives holds its
-- advisory lock.
-- Parameters: none. Returns: one boolean. Locks: the leader's lock if it is free, shared, until the
-- end of this statement's transaction.
SELECT EXISTS (
    SELECT
      FROM pgtopic.leader l
      JOIN pgtopic.workers w ON w.id = l.worker AND NOT w.gone
     WHERE NOT pg_try_advisory_xact_lock_shared(pgtopic.stripe_class(), w.lock_key))
