-- Count the messages that arrived while triggers were switched off.
-- Parameters: none. Returns: how many, since the schema was made. Locks: none.
SELECT coalesce(pg_sequence_last_value('pgtopic.arrived_messages'), 0)
