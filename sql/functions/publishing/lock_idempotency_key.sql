-- ----------------------------------------------------------------------
-- lock_idempotency_key: whether an idempotency key is free. Until this
-- transaction has ended, nobody else can use the key.
--
-- Messages are fanned out before they are inserted, and ON CONFLICT must not
-- leave out a message that is owed. So each user of a key inserts a row into
-- used_idempotency_keys and deletes it at once. Another transaction with the
-- same key waits there until this one has ended, and then sees its message. If
-- a message with the key is being deleted, that is waited for too. A message
-- that is found cannot be deleted, and keeps its key, until this transaction
-- has ended. (Advisory locks would be too many for the server in a bulk load.)
--
-- Returns: true if no message has the key.
-- Locks:   the key, and the message that was found FOR SHARE, to the end of the
--          transaction.
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
