-- ----------------------------------------------------------------------
-- step_job: a step of a job. It commits together with the job's progress.
--
-- What the step does is in the function of its kind: replay_step,
-- dead_letters_step, cancel_step, backfill_step, lanes_retry_step, purge_step.
-- Each gets the job as it is now, and how many messages or rows to deal with at
-- most. Each returns:
--   progress   where the next step begins
--   done, already_owed, gone, filtered  how many this step dealt with
--   waits_for  what the next step waits for; null if nothing
--   finished   whether everything is done
--
-- Parameters: job_id   the job
--             at_most  how many to deal with at most
--             messages_days, dead_letters_days, attempts_days, jobs_days,
--             changes_days  as purge_step
-- Returns:    the job's state, null if there is no unfinished job of that id;
--             how many the step dealt with; whether the job can only wait now.
-- Raises:     as the function of its kind: try again.
-- Locks:      the job's row; as the function of its kind.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.step_job(
    job_id bigint, at_most integer, messages_days integer, dead_letters_days integer, attempts_days integer, jobs_days integer,
    changes_days integer, OUT state text, OUT did bigint, OUT waits boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    job  pgtopic.jobs := pgtopic.begin_job_step(job_id);
    step record;
BEGIN
    state := job.state;
    did := 0;
    waits := false;
    IF job.state IS DISTINCT FROM 'running' THEN
        RETURN;
    END IF;
    CASE job.kind
        WHEN 'replay' THEN SELECT * INTO step FROM pgtopic.replay_step(job, at_most);
        WHEN 'dead_letter_replay', 'dead_letter_discard' THEN SELECT * INTO step FROM pgtopic.dead_letters_step(job, at_most);
        WHEN 'cancel' THEN SELECT * INTO step FROM pgtopic.cancel_step(job, at_most);
        WHEN 'backfill' THEN SELECT * INTO step FROM pgtopic.backfill_step(job, at_most);
        WHEN 'lanes_retry' THEN SELECT * INTO step FROM pgtopic.lanes_retry_step(job, at_most);
        WHEN 'purge' THEN
            SELECT * INTO step
              FROM pgtopic.purge_step(job, at_most, messages_days, dead_letters_days, attempts_days, jobs_days, changes_days);
    END CASE;
    UPDATE pgtopic.jobs j
       SET state = CASE WHEN step.finished THEN 'succeeded' ELSE 'running' END,
           progress = step.progress,
           done = j.done + step.done,
           already_owed = j.already_owed + step.already_owed,
           gone = j.gone + step.gone,
           filtered = j.filtered + step.filtered,
           waits_for = step.waits_for,
           updated_at = clock_timestamp(),
           finished_at = CASE WHEN step.finished THEN clock_timestamp() END
     WHERE j.id = job_id
    RETURNING j.state INTO state;
    did := step.done + step.already_owed + step.gone + step.filtered;
    waits := did = 0 AND step.waits_for IS NOT NULL AND step.progress ->> 'after' IS NOT DISTINCT FROM job.progress ->> 'after';
END
$$;
