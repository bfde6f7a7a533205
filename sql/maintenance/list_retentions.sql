-- The topics with a retention, and since when their messages are kept.
-- Parameters: none. Returns: topic, instant. Locks: none.
SELECT t.id, now() - t.retention FROM pgtopic.topics t WHERE t.retention IS NOT NULL
