-- ----------------------------------------------------------------------
-- doctor/is_encrypted: whether this session uses TLS.
--
-- Parameters: none. Returns: one boolean. Locks: none.
-- ----------------------------------------------------------------------
SELECT s.ssl FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid()
