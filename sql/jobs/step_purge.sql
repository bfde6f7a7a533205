-- A step of a job.
-- Parameters: the job, how many to look at, days that messages, dead letters, attempts, jobs and the
-- audit log are kept. Returns, locks: see purge_step in sql/functions/jobs.
SELECT state, did, waits FROM pgtopic.purge_step($1, $2, $3, $4, $5, $6, $7)
