-- ----------------------------------------------------------------------
-- changes_mark_event: BEFORE INSERT on changes, for kinds that are events. Marks
-- the row if somebody subscribes to events. The leader publishes marked rows
-- (publish_events). A change of a webhook of pgtopic's own topics is not marked:
-- a failing webhook of events would cause further events.
--
-- Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.changes_mark_event() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    NEW.is_event :=
        pgtopic.events_topic() IS NOT NULL
        AND NOT EXISTS (SELECT FROM pgtopic.topics t WHERE t.id = NEW.topic_id AND t.name ^@ ('pgtopic' || '.'));
    RETURN NEW;
END
$$;
