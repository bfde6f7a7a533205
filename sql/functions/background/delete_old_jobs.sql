-- ----------------------------------------------------------------------
-- delete_old_jobs: delete jobs that ended more than some days ago.
--
-- Parameters: days; portion, how many to delete at most. Returns: how many were
-- deleted. Locks: the rows. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.delete_old_jobs(days integer, portion integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    deleted  bigint;
BEGIN
    DELETE FROM pgtopic.jobs
     WHERE ctid = ANY (ARRAY(
        SELECT j.ctid FROM pgtopic.jobs j
         WHERE j.finished_at < now() - delete_old_jobs.days * interval '1 day'
         LIMIT portion));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
