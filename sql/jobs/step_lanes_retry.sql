-- A step of a job.
-- Parameters: the job, how many to deal with at most. Returns, locks: see lanes_retry_step in
-- sql/functions/jobs.
SELECT state, did, waits FROM pgtopic.lanes_retry_step($1, $2)
