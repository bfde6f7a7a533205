-- ----------------------------------------------------------------------
-- messages_arrived: BEFORE INSERT on messages, for each row that arrives while
-- triggers are switched off (logical replication, session_replication_role =
-- replica). Counts it.
--
-- Such a row was published elsewhere. It is not published here: nobody is owed
-- it, unless its deliveries arrive too. Workers say so when the count rises.
--
-- Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.messages_arrived() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    PERFORM nextval('pgtopic.arrived_messages');
    RETURN NEW;
END
$$;
