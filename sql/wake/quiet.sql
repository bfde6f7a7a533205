-- Tell publishers for some time that workers poll, so that publishers need not NOTIFY.
-- Parameters: how long, in microseconds from now on. Returns: nothing. Locks: none that it keeps.
SELECT pgtopic.suppress_notifications($1)
