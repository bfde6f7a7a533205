-- ----------------------------------------------------------------------
-- sessions/find: the token of a session.
--
-- Parameters: $1 the hash of the cookie.
-- Returns:    the digest of its token; no row if there is no such session, or
--             it is over.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT s.token_digest FROM pgtopic.sessions s WHERE s.hash = $1::bytea AND s.expires_at > now()
