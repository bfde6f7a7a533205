-- ----------------------------------------------------------------------
-- changed_by: who makes the changes of this transaction, for the table changes.
--
-- Statements of pgtopic say it with set_config('pgtopic_session.changed_by', …,
-- true). Whoever writes SQL may say it too, and is believed.
--
-- Returns: what was said; else the role that has logged in.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.changed_by() RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    RETURN coalesce(nullif(current_setting('pgtopic_session.changed_by', true), ''), session_user);
END
$$;
