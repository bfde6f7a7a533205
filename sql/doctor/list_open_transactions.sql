-- ----------------------------------------------------------------------
-- doctor/list_open_transactions: the oldest open transactions of the server.
--
-- Parameters: $1 how many at most.
-- Returns:    the process; role, application, database and state; since when
--             (null if this role may not see it).
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT a.pid, concat_ws(', ', 'role ' || a.usename, nullif(a.application_name, ''), 'database ' || a.datname, a.state) AS who,
       a.xact_start AS since
  FROM pg_stat_activity a
 WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND (a.xact_start IS NOT NULL OR a.backend_xmin IS NOT NULL)
 ORDER BY a.xact_start NULLS LAST
 LIMIT $1::bigint
