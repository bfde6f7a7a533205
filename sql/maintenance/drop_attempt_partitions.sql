-- Drop the partitions of attempts that are older than some days.
-- Parameters: days to keep. Returns: how many were dropped. Locks: see drop_attempt_partitions in
-- sql/functions/background.
SELECT pgtopic.drop_attempt_partitions($1)
