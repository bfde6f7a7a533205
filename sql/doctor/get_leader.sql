-- ----------------------------------------------------------------------
-- doctor/get_leader: the worker that leads and lives, and since when.
--
-- Parameters: none.
-- Returns:    its name and since when; nothing if nobody leads.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.name, l.since
  FROM pgtopic.leader l
  JOIN pgtopic.workers w ON w.id = l.worker AND NOT w.gone
 WHERE EXISTS (SELECT
                 FROM pg_locks k
                WHERE k.locktype = 'advisory' AND k.granted AND k.mode = 'ExclusiveLock' AND k.objsubid = 2
                  AND k.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                  AND k.classid = pgtopic.stripe_class()::oid AND k.objid = w.lock_key::oid)
