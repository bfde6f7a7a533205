-- ----------------------------------------------------------------------
-- doctor/get_traffic: how many messages are published a second, as of the last
-- sample.
--
-- Parameters: none. Returns: one number. Locks: none.
-- ----------------------------------------------------------------------
SELECT coalesce(sum(t.published_per_second), 0) AS published_per_second FROM pgtopic.topic_samples t
