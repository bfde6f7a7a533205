-- ----------------------------------------------------------------------
-- is_held: whether a webhook's receiver has asked for nothing to be sent now.
--
-- A hold is at most a minute long. If it seems to last longer, the clock of the
-- database was stepped back since it was written. Then it holds nothing.
--
-- The function has no SET. So PostgreSQL puts its text into the statement that
-- calls it.
--
-- Parameters: hold_until of the webhook
-- Returns:    true or false, never null.
-- Locks:      none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.is_held(hold_until timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
SELECT coalesce(hold_until OPERATOR(pg_catalog.>) pg_catalog.statement_timestamp()
                AND hold_until OPERATOR(pg_catalog.<=) (pg_catalog.statement_timestamp() OPERATOR(pg_catalog.+) interval '60 s'), false)
$$;
