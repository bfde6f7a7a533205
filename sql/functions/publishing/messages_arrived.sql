-- ----------------------------------------------------------------------
-- messages_arrived: BEFORE INSERT on messages, for each row that arrives with an
-- id while triggers are switched off (logical replication,
-- session_replication_role = replica). Counts it.
--
-- Such a row was published elsewhere. It is not published here: nobody is owed
-- it, unless its deliveries arrive too. Workers say so when the count rises. If
-- zz_messages_publish is ENABLE ALWAYS, it publishes the row, which is not counted.
--
-- Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.messages_arrived() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger t
                    WHERE t.tgrelid = TG_RELID AND t.tgname = 'zz_messages_publish' AND t.tgenabled = 'A')
    THEN
        PERFORM nextval('pgtopic.arrived_messages');
    END IF;
    RETURN NEW;
END
$$;
