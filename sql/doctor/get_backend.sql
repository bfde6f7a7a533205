-- ----------------------------------------------------------------------
-- doctor/get_backend: which session of which server answers. Two connections
-- with one answer share a session: a pooler stands between.
--
-- It is sent as a simple query: through a pooler that nobody has configured, no
-- other one works.
--
-- Parameters: none.
-- Returns:    the process; the server and the database.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT pg_catalog.pg_backend_pid(),
       pg_catalog.concat_ws(' ', pg_catalog.pg_postmaster_start_time(),
                            (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
