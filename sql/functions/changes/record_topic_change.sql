-- ----------------------------------------------------------------------
-- record_topic_change: AFTER UPDATE on topics, for each row whose pause has
-- changed. Adds a row to changes; its reason is how the topic is paused.
--
-- Locks: the new row.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.record_topic_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    INSERT INTO pgtopic.changes (kind, topic_id, reason, changed_by)
    VALUES (CASE WHEN NEW.paused IS NULL THEN 'topic.resumed' ELSE 'topic.paused' END, NEW.id, NEW.paused, pgtopic.changed_by());
    RETURN NULL;
END
$$;
