-- ----------------------------------------------------------------------
-- installation/set_identity: say that this installation sends from here, if
-- that was never said.
--
-- Parameters: none.
-- Returns:    the system identifier (null if it may not be read) and the oid of
--             the database that this is.
-- Locks:      the row, if it is written.
-- ----------------------------------------------------------------------
WITH here AS (SELECT h.system_identifier, h.database_oid FROM pgtopic.server_identity() h),
     written AS (
    UPDATE pgtopic.installation i
       SET system_identifier = h.system_identifier, database_oid = h.database_oid
      FROM here h
     WHERE i.database_oid IS NULL
)
SELECT h.system_identifier, h.database_oid FROM here h
