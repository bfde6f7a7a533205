-- Look at the other workers.
-- Parameters: the worker that looks.
-- Returns: id, name, heartbeat, lease in seconds, whether its session's lock is free, whether it is
-- gone.
-- Locks: the locks that are free, shared, until the end of this statement's transaction.
SELECT w.id, w.name, w.heartbeat_at, extract(epoch FROM w.lease)::double precision,
       pg_try_advisory_xact_lock_shared(pgtopic.stripe_class(), w.lock_key),
       w.gone
  FROM pgtopic.workers w
 WHERE w.id <> $1
