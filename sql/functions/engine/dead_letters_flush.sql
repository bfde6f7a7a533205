-- ----------------------------------------------------------------------
-- dead_letters_flush: AFTER INSERT on dead_letters, for each statement.
--
-- Makes the transaction commit as the server is configured to, whatever settle
-- has set before.
--
-- Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.dead_letters_flush() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    SET LOCAL synchronous_commit TO DEFAULT;
    RETURN NULL;
END
$$;
