-- Ask for the end of a job: the leader ends it in its next step. A job that has ended stays as it
-- is.
-- Parameters: $1 its id. Returns: j: the job, if it had not ended. Locks: its row.
WITH j AS (
    UPDATE pgtopic.jobs j SET state = 'canceling', updated_at = clock_timestamp()
     WHERE j.id = $1::bigint AND j.state IN ('queued', 'running', 'canceling')
    RETURNING *
)
