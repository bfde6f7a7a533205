-- ----------------------------------------------------------------------
-- mark_worker_gone: mark a worker as gone. From now on it claims nothing, and
-- anybody may take its lanes.
--
-- The caller must be certain that the worker sends nothing any more. A claim of
-- the worker that is under way is not waited for: sweeps of other workers find
-- the lanes that it commits later.
--
-- Parameters:
--   worker      the worker
--   reason      why it was taken for dead or hung: this is a row of changes, if
--               that can be written; null: it has stopped by itself
--   changed_by  who says so
--
-- Returns: true if this call has marked it; false if it was marked before, is
--          not registered, or its row is locked.
-- Locks:   the worker's row FOR NO KEY UPDATE, SKIP LOCKED. The FOR KEY SHARE
--          of a claim does not conflict with that.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.mark_worker_gone(worker uuid, reason text, changed_by text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    UPDATE pgtopic.workers w
       SET gone = true
     WHERE w.ctid = ANY (ARRAY(
        SELECT x.ctid FROM pgtopic.workers x WHERE x.id = worker AND NOT x.gone FOR NO KEY UPDATE SKIP LOCKED));
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF reason IS NOT NULL THEN
        BEGIN
            INSERT INTO pgtopic.changes (kind, worker_id, reason, changed_by) VALUES ('worker.lost', worker, reason, changed_by);
        EXCEPTION WHEN OTHERS THEN
            -- Its lanes are released, whatever is the matter with the audit log.
            NULL;
        END;
    END IF;
    RETURN true;
END
$$;
