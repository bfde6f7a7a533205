-- ----------------------------------------------------------------------
-- require_read_committed: refuse to run under an old snapshot.
--
-- Under REPEATABLE READ "a new statement" sees nothing new, and the checks of
-- the engine's functions would be void.
--
-- Raises: 25000.
-- Locks:  none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.require_read_committed() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'pgtopic workers need READ COMMITTED, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
END
$$;
