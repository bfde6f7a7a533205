-- ----------------------------------------------------------------------
-- require_registered: refuse a worker that must not claim.
--
-- Raises: 55000 the worker is not registered, or it is gone (another worker
--         took it for dead or hung): it must start over.
-- Locks:  the worker's row FOR KEY SHARE, so that the row is not deleted while
--         a claim of this worker is under way.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.require_registered(worker uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    PERFORM FROM pgtopic.workers w WHERE w.id = worker AND NOT w.gone FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;
