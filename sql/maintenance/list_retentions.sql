-- The topics that have a retention, each with the instant before which its messages are past it.
-- Parameters: none. Returns: topic id, instant. Locks: none.
SELECT t.id, now() - t.retention FROM pgtopic.topics t WHERE t.retention IS NOT NULL
