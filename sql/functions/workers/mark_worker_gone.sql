-- ----------------------------------------------------------------------
-- mark_worker_gone: from now on a worker claims nothing, and its lanes are
-- anybody's.
--
-- The caller has made sure that the worker sends nothing any more. A claim of
-- it that is under way is not waited for: the lanes that it commits later are
-- found by the sweeps of other workers.
--
-- Returns: true where this call has marked it; false where it was marked
--          already, is not registered, or its row is locked.
-- Locks:   the worker's row FOR NO KEY UPDATE, SKIP LOCKED: a claim's FOR KEY
--          SHARE is not in the way.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.mark_worker_gone(worker uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    UPDATE pgtopic.workers w
       SET gone = true
     WHERE w.ctid = ANY (ARRAY(
        SELECT x.ctid FROM pgtopic.workers x WHERE x.id = worker AND NOT x.gone FOR NO KEY UPDATE SKIP LOCKED));
    RETURN FOUND;
END
$$;
