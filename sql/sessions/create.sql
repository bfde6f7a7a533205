-- ----------------------------------------------------------------------
-- sessions/create: log somebody in to the console.
--
-- Sessions that are over are deleted.
--
-- Parameters: $1 the hash of the cookie, $2 the digest of the token, $3 how long
--             the session lasts, in seconds.
-- Returns:    nothing.
-- Locks:      rows of sessions that are over.
-- ----------------------------------------------------------------------
WITH over AS (
    SELECT s.hash FROM pgtopic.sessions s WHERE s.expires_at <= now() LIMIT 1000 FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM pgtopic.sessions s USING over WHERE s.hash = over.hash
)
INSERT INTO pgtopic.sessions (hash, token_digest, expires_at)
VALUES ($1::bytea, $2::bytea, now() + make_interval(secs => $3::double precision))
