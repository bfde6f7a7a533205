-- A step of a job.
-- Parameters: the job, how many to deal with at most, days that messages, dead letters, attempts,
-- jobs and the audit log are kept. Returns, locks: see step_job in sql/functions/jobs.
SELECT state, did, waits FROM pgtopic.step_job($1, $2, $3, $4, $5, $6, $7)
