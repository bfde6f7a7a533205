-- Make the partitions of attempts for some days ahead.
-- Parameters: days. Returns: how many were made. Locks: see make_attempt_partitions in
-- sql/functions/background.
SELECT pgtopic.make_attempt_partitions($1)
