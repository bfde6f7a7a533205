-- Say that requests to webhooks are accepted that another worker suspects.
-- Parameters: worker, webhook ids, for how many seconds a suspicion lasts.
-- Returns: see note_success. Locks: the breakers' rows, SKIP LOCKED.
SELECT pgtopic.note_success($1, $2, $3)
