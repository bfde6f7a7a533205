-- ----------------------------------------------------------------------
-- dead_letters_flush: AFTER INSERT on dead_letters, for each statement.
--
-- Sets synchronous_commit back to its configured value; settle has switched it
-- off. So a dead letter is on disk before its lane goes on.
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
