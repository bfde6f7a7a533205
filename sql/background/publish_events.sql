-- Publish changes of state to the topic of events.
-- Parameters: $1 how many at most. Returns: how many were published. Locks: see publish_events.
SELECT pgtopic.publish_events($1)
