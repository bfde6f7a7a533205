-- ----------------------------------------------------------------------
-- require_read_committed: refuse to run under an old snapshot.
--
-- The engine's functions check things in a new statement, which must have a new
-- snapshot. Under REPEATABLE READ it has none, and the checks would mean
-- nothing.
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
