-- ----------------------------------------------------------------------
-- take_lead: lead the background work, if nobody does.
--
-- A worker leads until another worker takes the lead. Others may take it when
-- the leader's worker is not registered, or is gone. It is not taken while a
-- step of the old leader is under way: the step has locked the row.
--
-- Parameters: worker  the incarnation that asks
-- Returns:    the term, if this worker leads now; null if another one does, or
--             the row is locked
-- Raises:     25000 not at READ COMMITTED; 55000 the worker is not registered,
--             or it is gone.
-- Locks:      if the lead is free: the leader's row FOR NO KEY UPDATE, SKIP
--             LOCKED, and the worker's row FOR KEY SHARE. Else none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.take_lead(worker uuid) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    holder uuid;
    term   bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    SELECT l.worker, l.term INTO holder, term FROM pgtopic.leader l;
    IF EXISTS (SELECT FROM pgtopic.workers w WHERE w.id = holder AND NOT w.gone) THEN
        RETURN CASE WHEN holder = take_lead.worker THEN term END;
    END IF;
    PERFORM FROM pgtopic.leader l FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Another worker may have taken the lead before the row was locked. New statements see it.
    PERFORM pgtopic.require_registered(take_lead.worker);
    UPDATE pgtopic.leader l
       SET worker = take_lead.worker, term = l.term + 1, since = clock_timestamp()
     WHERE NOT EXISTS (SELECT FROM pgtopic.workers w WHERE w.id = l.worker AND NOT w.gone)
    RETURNING l.term INTO term;
    RETURN CASE WHEN FOUND THEN term END;
END
$$;
