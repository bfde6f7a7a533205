-- Look at some messages by rising id, and delete those that are past their retention or whose topic
-- is gone. Messages that are owed stay, and so do those of dead letters.
-- Parameters: the id to begin after, how many to look at, the default retention in days (0: none).
-- Returns: the last id looked at, how many were looked at, how many were deleted, whether one of
-- them is older than the shortest retention. Locks: see delete_old_messages in
-- sql/functions/background.
SELECT last_id, seen, deleted, any_old FROM pgtopic.delete_old_messages($1, $2, $3)
