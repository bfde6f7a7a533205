-- ----------------------------------------------------------------------
-- doctor/list_idle_slots: replication slots that nobody reads from, and how many
-- bytes of WAL each keeps.
--
-- Parameters: $1 how many at most.
-- Returns:    the slot and its bytes, most first. Nothing on a standby.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT s.slot_name::text AS name, pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint AS kept_bytes
  FROM pg_replication_slots s
 WHERE NOT s.active AND s.restart_lsn IS NOT NULL
 ORDER BY s.restart_lsn
 LIMIT $1::bigint
