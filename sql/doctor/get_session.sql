-- ----------------------------------------------------------------------
-- doctor/get_session: the session that asks, and its server.
--
-- It reads none of our tables: the role may have no rights in the schema.
--
-- Parameters: none.
-- Returns:    one row. read_only says how sessions begin; this transaction is
--             read-only itself.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT current_database()::text AS database, current_user::text AS role, current_setting('server_version_num')::integer AS version,
       pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') = 'on' AS read_only,
       (SELECT count(*) FROM pg_stat_activity a WHERE a.backend_type = 'client backend') AS connections,
       current_setting('max_connections')::bigint AS connections_max, clock_timestamp() AS now
