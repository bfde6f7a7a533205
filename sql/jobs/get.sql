-- One job.
-- Parameters: $1 its id. Returns: j: the job, or nothing. Locks: none.
WITH j AS (SELECT * FROM pgtopic.jobs j WHERE j.id = $1::bigint)
