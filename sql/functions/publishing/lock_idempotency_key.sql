-- ----------------------------------------------------------------------
-- lock_idempotency_key: whether a message with this key will be there, or be
-- refused or left out since there is one already.
--
-- Messages are fanned out before they are inserted, and ON CONFLICT must not
-- leave one out that is owed. So whoever uses a key inserts and deletes a row
-- in a table of keys: another one waits there until that transaction has
-- ended, and then sees its message. A message that is being deleted is waited
-- for, and one that is found cannot be deleted before we are done. (Locks by
-- number would be too many for the server in a bulk load.)
--
-- Returns: true where no message has the key.
-- Locks:   the key, and the message that was found FOR SHARE, to the end of
--          the transaction.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.lock_idempotency_key(topic_id bigint, idempotency_key text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_variable
DECLARE
    place tid;
BEGIN
    INSERT INTO pgtopic.used_idempotency_keys AS u VALUES (topic_id, idempotency_key) RETURNING u.ctid INTO place;
    DELETE FROM pgtopic.used_idempotency_keys u WHERE u.ctid = place;
    PERFORM FROM pgtopic.messages m WHERE m.topic_id = topic_id AND m.idempotency_key = idempotency_key FOR SHARE;
    RETURN NOT FOUND;
END
$$;
