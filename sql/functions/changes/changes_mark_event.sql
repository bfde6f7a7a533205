-- ----------------------------------------------------------------------
-- changes_mark_event: BEFORE INSERT on changes, for kinds that are events. Marks
-- the row, if somebody subscribes to the topic of events. The leader publishes
-- marked rows (publish_events). Changes of pgtopic's own webhooks are
-- not marked: otherwise a failing event would cause further events.
--
-- Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.changes_mark_event() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    NEW.is_event :=
        EXISTS (SELECT FROM pgtopic.topics t JOIN pgtopic.webhooks w ON w.topic_id = t.id WHERE t.name = 'pgtopic' || '.events')
        AND NOT EXISTS (SELECT FROM pgtopic.topics t WHERE t.id = NEW.topic_id AND t.name ^@ ('pgtopic' || '.'));
    RETURN NEW;
END
$$;
