-- Delete rows of the audit log that are older than some days, a portion of them.
-- Parameters: days, how many at most. Returns: how many were deleted. Locks: see delete_old_changes in
-- sql/functions/background.
SELECT pgtopic.delete_old_changes($1, $2)
