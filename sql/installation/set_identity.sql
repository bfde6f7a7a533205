-- ----------------------------------------------------------------------
-- installation/set_identity: say that this installation sends from here, if
-- that was never said. Note the server's timeline.
--
-- Parameters: none.
-- Returns:    the system identifier (null if it may not be read) and the oid of
--             the database that this is; its timeline, and the one that was
--             noted before.
-- Locks:      the row, if it is written.
-- ----------------------------------------------------------------------
WITH here AS MATERIALIZED (SELECT h.system_identifier, h.database_oid, h.timeline FROM pgtopic.server_identity() h),
     written AS (
    UPDATE pgtopic.installation i
       SET system_identifier = CASE WHEN i.database_oid IS NULL THEN h.system_identifier ELSE i.system_identifier END,
           database_oid = coalesce(i.database_oid, h.database_oid),
           timeline = h.timeline
      FROM here h
     WHERE i.database_oid IS NULL OR i.timeline IS DISTINCT FROM h.timeline
)
SELECT h.system_identifier, h.database_oid, h.timeline, i.timeline AS known
  FROM here h
 CROSS JOIN pgtopic.installation i
