-- ----------------------------------------------------------------------
-- installation/set_sending: switch sending on or off.
--
-- Who switches it on says that this installation sends from this database, even
-- if it was another one before.
--
-- Parameters: $1 whether to send, $2 why, or null, $3 who says so.
-- Returns:    nothing; one row is counted if that changed anything.
-- Locks:      the row of installation.
-- ----------------------------------------------------------------------
WITH changed AS (
    UPDATE pgtopic.installation i
       SET sending = $1::boolean, reason = $2::text, changed_by = $3::text,
           system_identifier = CASE WHEN $1::boolean THEN h.system_identifier ELSE i.system_identifier END,
           database_oid = CASE WHEN $1::boolean THEN h.database_oid ELSE i.database_oid END
      FROM pgtopic.server_identity() h
     WHERE i.sending IS DISTINCT FROM $1::boolean
        OR $1::boolean AND (i.database_oid <> h.database_oid OR i.system_identifier <> h.system_identifier)
    RETURNING i.sending
)
INSERT INTO pgtopic.changes (kind, reason, changed_by)
SELECT CASE WHEN c.sending THEN 'sending.on' ELSE 'sending.off' END, $2::text, $3::text FROM changed c
