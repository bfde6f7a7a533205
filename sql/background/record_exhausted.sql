-- Record that deliveries were given up, one change for each webhook.
-- Parameters: $1 how many dead letters to look at. Returns: how many changes. Locks: see
-- record_exhausted.
SELECT pgtopic.record_exhausted($1)
