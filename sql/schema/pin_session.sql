-- ----------------------------------------------------------------------
-- schema/pin_session: undo what the role or the database has set for other
-- sessions and would hinder ours: what SET alone cannot do on all versions.
--
-- A server that is read-only as a whole (default_transaction_read_only in its
-- own settings, or a standby) stays read-only. Triggers must run: it fails
-- (42501) if they are switched off and this role may not switch them on.
--
-- Parameters: none. Returns: nothing of use. Locks: none.
-- ----------------------------------------------------------------------
SELECT set_config('transaction_timeout', '0', false)
 WHERE current_setting('server_version_num')::integer >= 170000;
SELECT set_config('default_transaction_read_only', 'off', false)
 WHERE current_setting('default_transaction_read_only') = 'on' AND NOT pg_is_in_recovery()
   AND EXISTS (SELECT
                 FROM pg_db_role_setting s
                CROSS JOIN unnest(s.setconfig) AS given
                WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
                  AND s.setrole IN (0, (SELECT r.oid FROM pg_roles r WHERE r.rolname = session_user))
                  AND given LIKE 'default_transaction_read_only=%');
SELECT set_config('session_replication_role', 'origin', false)
 WHERE current_setting('session_replication_role') <> 'origin';
