-- Tell publishers that workers poll, so that they need not NOTIFY.
-- Parameters: for how many microseconds from now. Returns: nothing. Locks: none that lasts.
SELECT pgtopic.suppress_notifications($1)
