-- End a job whose steps fail.
-- Parameters: the job, the error. Returns: nothing. Locks: its row.
SELECT pgtopic.fail_job($1, $2)
