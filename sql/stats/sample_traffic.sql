-- Note the traffic of the last minute, by webhook and topic.
-- Parameters: who writes that into the audit log. Returns: how many webhooks had traffic.
-- Locks: see sample_traffic.
SELECT pgtopic.sample_traffic($1)
