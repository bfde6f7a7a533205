-- ----------------------------------------------------------------------
-- installation/get_sending: whether anything is sent from here.
--
-- Parameters: none.
-- Returns:    what was said (null: nothing yet), why and by whom; and whether
--             the installation was to send from another database than this.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT i.sending, i.reason, i.changed_by,
       coalesce(i.database_oid <> h.database_oid OR i.system_identifier <> h.system_identifier, false) AS is_copy
  FROM pgtopic.installation i
 CROSS JOIN pgtopic.server_identity() h
