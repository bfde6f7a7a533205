-- ----------------------------------------------------------------------
-- stripe_class: the advisory-lock class of this installation.
--
-- Returns: the schema's oid, so that two installations in one database do not
--          share locks.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.stripe_class() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT '"pgtopic"'::regnamespace::oid::integer
$$;
