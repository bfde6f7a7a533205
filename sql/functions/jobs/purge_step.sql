-- ----------------------------------------------------------------------
-- purge_step: a step of a job that deletes what is past its retention now.
--
-- One kind of rows after the other: dead letters, days of the attempt log, jobs,
-- the audit log, messages. (Messages of dead letters that went are found.)
--
-- Parameters: job, at_most  as step_job
--             messages_days, dead_letters_days, attempts_days  the settings; 0:
--                      for ever
--             jobs_days, changes_days  how long jobs and changes are kept
-- Returns:    as step_job. It never waits.
-- Raises:     55P03 a partition of the attempt log is in use: try again.
-- Locks:      as the functions that delete.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.purge_step(
    job pgtopic.jobs, at_most integer, messages_days integer, dead_letters_days integer, attempts_days integer, jobs_days integer,
    changes_days integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint,
    OUT waits_for text, OUT finished boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    kinds   CONSTANT text[] := '{dead_letters,attempts,jobs,changes,messages}';
    kind    text := coalesce(job.progress ->> 'kind', kinds[1]);
    after   bigint := coalesce((job.progress ->> 'after')::bigint, 0);
    is_end  boolean := false;
    portion record;
BEGIN
    CASE kind
        WHEN 'dead_letters' THEN
            done := CASE WHEN dead_letters_days > 0 THEN pgtopic.delete_old_dead_letters(dead_letters_days, at_most) ELSE 0 END;
            is_end := done = 0;
        WHEN 'attempts' THEN
            done := CASE WHEN attempts_days > 0 THEN pgtopic.drop_attempt_partitions(attempts_days) ELSE 0 END;
            is_end := true;
        WHEN 'jobs' THEN
            done := pgtopic.delete_old_jobs(jobs_days, at_most);
            is_end := done = 0;
        WHEN 'changes' THEN
            done := pgtopic.delete_old_changes(changes_days, at_most);
            is_end := done = 0;
        WHEN 'messages' THEN
            SELECT * INTO portion FROM pgtopic.delete_old_messages(after, at_most, messages_days);
            done := portion.deleted;
            after := coalesce(portion.last_id, after);
            is_end := portion.seen < at_most;
    END CASE;
    SELECT 0, 0, 0 INTO already_owed, gone, filtered;
    progress := json_build_object('after', after,
                                  'kind', CASE WHEN is_end THEN kinds[array_position(kinds, kind) + 1] ELSE kind END);
    finished := is_end AND kind = kinds[cardinality(kinds)];
END
$$;
