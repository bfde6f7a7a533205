-- Count the transactions of the whole server whose commit waits for another one that has sent a
-- NOTIFY too.
-- Parameters: none. Returns: the count. Locks: those of pg_locks itself, for some microseconds.
-- (LockSharedObject in PreCommit_Notify, src/backend/commands/async.c: object 0 of pg_database.)
SELECT count(*)
  FROM pg_catalog.pg_locks
 WHERE locktype = 'object' AND database = 0 AND classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND objid = 0
   AND NOT granted
