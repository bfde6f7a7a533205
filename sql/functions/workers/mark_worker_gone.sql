-- ----------------------------------------------------------------------
-- mark_worker_gone: mark a worker as gone. From now on it claims nothing, and
-- anybody may take its lanes.
--
-- The caller must be certain that the worker sends nothing any more. A claim of
-- the worker that is under way is not waited for: sweeps of other workers find
-- the lanes that it commits later.
--
-- Returns: true if this call has marked it; false if it was marked before, is
--          not registered, or its row is locked.
-- Locks:   the worker's row FOR NO KEY UPDATE, SKIP LOCKED. The FOR KEY SHARE
--          of a claim does not conflict with that.
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
