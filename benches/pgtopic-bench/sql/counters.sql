-- ----------------------------------------------------------------------
-- counters: what the server has done so far.
--
-- Parameters: none.
-- Returns:    bytes of write-ahead log of the whole server; transactions
--             committed in this database. A session adds its own transactions
--             to that number now and then, and when it ends.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS wal_bytes,
       (SELECT s.xact_commit FROM pg_stat_database s WHERE s.datname = current_database()) AS transactions
