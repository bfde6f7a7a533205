-- ----------------------------------------------------------------------
-- sessions/delete: log somebody out of the console.
--
-- Parameters: $1 the hash of the cookie.
-- Returns:    nothing.
-- Locks:      the row of the session.
-- ----------------------------------------------------------------------
DELETE FROM pgtopic.sessions s WHERE s.hash = $1::bytea
