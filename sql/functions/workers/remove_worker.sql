-- ----------------------------------------------------------------------
-- remove_worker: delete the row of a worker that is gone.
--
-- The row stays while somebody has locked it. Then a claim of that worker may
-- be under way in one of its sessions, and the lanes that it takes must be
-- released first.
--
-- Returns: whether the row is gone: it was deleted now, or was not there.
-- Locks:   the row FOR UPDATE SKIP LOCKED.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.remove_worker(worker uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    DELETE FROM pgtopic.workers w
     WHERE w.ctid = ANY (ARRAY(SELECT x.ctid FROM pgtopic.workers x WHERE x.id = worker AND x.gone FOR UPDATE SKIP LOCKED));
    RETURN FOUND OR NOT EXISTS (SELECT FROM pgtopic.workers w WHERE w.id = worker);
END
$$;
