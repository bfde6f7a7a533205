-- A step of a job.
-- Parameters: the job, how many to deal with at most. Returns, locks: see dead_letters_step in
-- sql/functions/jobs.
SELECT state, did, waits FROM pgtopic.dead_letters_step($1, $2)
