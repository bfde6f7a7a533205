-- A dead letter must survive a crash of the server: its successor in the lane is sent as soon as it is committed.
--
-- Settles commit without a flush, because a lost settle means a redelivery. A redelivery after the successor has been
-- accepted would break the lane's order.

CREATE FUNCTION dead_letters_flush() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- dead_letters_flush: AFTER INSERT on dead_letters, for each statement.
--
-- Makes the transaction commit as the server is configured to, whatever
-- settle has set before.
--
-- Locks: none.
-- ----------------------------------------------------------------------
BEGIN
    SET LOCAL synchronous_commit TO DEFAULT;
    RETURN NULL;
END
$$;
CREATE TRIGGER flush AFTER INSERT ON dead_letters FOR EACH STATEMENT EXECUTE FUNCTION dead_letters_flush();
