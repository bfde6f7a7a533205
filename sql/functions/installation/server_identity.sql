-- ----------------------------------------------------------------------
-- server_identity: which server and which database this is.
--
-- A database that was restored elsewhere has another identity. A promoted base
-- backup has the same one: its files are those of the first server. Only its
-- timeline is another one, as after a failover.
--
-- Returns: one row: the server's system identifier (null if the role may not
--          call pg_control_system), the oid of the database, and the timeline
--          (null on a standby).
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.server_identity(OUT system_identifier bigint, OUT database_oid bigint, OUT timeline bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF has_function_privilege('pg_control_system()', 'EXECUTE') THEN
        SELECT c.system_identifier INTO server_identity.system_identifier FROM pg_control_system() c;
    END IF;
    IF NOT pg_is_in_recovery() THEN
        server_identity.timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
    END IF;
    SELECT d.oid::bigint INTO server_identity.database_oid FROM pg_database d WHERE d.datname = current_database();
END
$$;
