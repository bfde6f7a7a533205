-- All triggers, one a line, as pg_get_triggerdef writes them. `pgtopic migrate` compares them with
-- those in the database, and makes a trigger again only if it differs. Making a trigger locks its
-- table against writers for a moment.

CREATE TRIGGER zz_messages_publish BEFORE INSERT ON pgtopic.messages FOR EACH ROW EXECUTE FUNCTION pgtopic.messages_publish();
CREATE TRIGGER changes_mark_event BEFORE INSERT ON pgtopic.changes FOR EACH ROW WHEN ((new.kind = ANY (ARRAY['webhook.failing'::text, 'webhook.recovered'::text, 'webhook.disabled'::text, 'webhook.enabled'::text, 'delivery.exhausted'::text, 'lane.halted'::text, 'lane.resumed'::text, 'worker.lost'::text]))) EXECUTE FUNCTION pgtopic.changes_mark_event();
CREATE TRIGGER flush AFTER INSERT ON pgtopic.dead_letters FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.dead_letters_flush();
CREATE TRIGGER topics_changed AFTER DELETE OR UPDATE ON pgtopic.topics FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_changed();
CREATE TRIGGER topics_changed_at BEFORE UPDATE ON pgtopic.topics FOR EACH ROW EXECUTE FUNCTION pgtopic.touch_changed_at();
CREATE TRIGGER topics_record_change AFTER UPDATE ON pgtopic.topics FOR EACH ROW WHEN ((old.paused IS DISTINCT FROM new.paused)) EXECUTE FUNCTION pgtopic.record_topic_change();
CREATE TRIGGER topics_ordering_never_changes BEFORE UPDATE OF ordering ON pgtopic.topics FOR EACH ROW WHEN ((old.ordering <> new.ordering)) EXECUTE FUNCTION pgtopic.refuse_change('ordering');
CREATE TRIGGER webhooks_all_went AFTER TRUNCATE ON pgtopic.webhooks FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();
CREATE TRIGGER webhooks_came AFTER INSERT ON pgtopic.webhooks REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();
CREATE TRIGGER webhooks_changed AFTER INSERT OR DELETE OR UPDATE ON pgtopic.webhooks FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_changed();
CREATE TRIGGER webhooks_changed_at BEFORE UPDATE ON pgtopic.webhooks FOR EACH ROW EXECUTE FUNCTION pgtopic.touch_changed_at();
CREATE TRIGGER webhooks_close_breaker AFTER UPDATE ON pgtopic.webhooks FOR EACH ROW WHEN (((old.url <> new.url) OR (old.secrets <> new.secrets) OR (old.breaker <> new.breaker) OR ((old.disabled_reason IS NOT NULL) AND (new.disabled_reason IS NULL)))) EXECUTE FUNCTION pgtopic.webhooks_close_breaker();
CREATE TRIGGER webhooks_filter_came_or_went AFTER UPDATE OF types, filter ON pgtopic.webhooks FOR EACH ROW WHEN ((((old.types IS NULL) AND (old.filter IS NULL)) <> ((new.types IS NULL) AND (new.filter IS NULL)))) EXECUTE FUNCTION pgtopic.webhooks_came_or_went();
CREATE TRIGGER webhooks_name BEFORE INSERT ON pgtopic.webhooks FOR EACH ROW WHEN ((new.name IS NULL)) EXECUTE FUNCTION pgtopic.webhooks_name();
CREATE TRIGGER webhooks_record_change AFTER UPDATE ON pgtopic.webhooks FOR EACH ROW WHEN (((old.paused <> new.paused) OR ((old.disabled_reason IS NULL) <> (new.disabled_reason IS NULL)) OR (old.state <> new.state) OR (old.overflowing <> new.overflowing))) EXECUTE FUNCTION pgtopic.record_webhook_change();
CREATE TRIGGER webhooks_refusal_came_or_went AFTER UPDATE OF on_overflow, overflowing ON pgtopic.webhooks FOR EACH ROW WHEN (((old.overflowing AND (old.on_overflow = 'refuse'::text)) <> (new.overflowing AND (new.on_overflow = 'refuse'::text)))) EXECUTE FUNCTION pgtopic.webhooks_came_or_went();
CREATE TRIGGER webhooks_topic_never_changes BEFORE UPDATE OF topic_id ON pgtopic.webhooks FOR EACH ROW WHEN ((old.topic_id <> new.topic_id)) EXECUTE FUNCTION pgtopic.refuse_change('topic_id');
CREATE TRIGGER webhooks_validate BEFORE INSERT OR UPDATE OF filter, filter_limit, headers, types ON pgtopic.webhooks FOR EACH ROW EXECUTE FUNCTION pgtopic.webhooks_validate();
CREATE TRIGGER webhooks_went AFTER DELETE ON pgtopic.webhooks REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();

-- These run instead of all others where triggers are switched off (logical replication,
-- session_replication_role = replica). A row with an id is a copy and is counted. One without an id
-- is published, unless zz_messages_publish, which may run there too, has given it one: so this
-- trigger comes after it by name.
CREATE TRIGGER messages_arrived BEFORE INSERT ON pgtopic.messages FOR EACH ROW WHEN ((new.id IS NOT NULL)) EXECUTE FUNCTION pgtopic.messages_arrived();
ALTER TABLE pgtopic.messages ENABLE REPLICA TRIGGER messages_arrived;
CREATE TRIGGER zz_messages_publish_here BEFORE INSERT ON pgtopic.messages FOR EACH ROW WHEN ((new.id IS NULL)) EXECUTE FUNCTION pgtopic.messages_publish();
ALTER TABLE pgtopic.messages ENABLE REPLICA TRIGGER zz_messages_publish_here;
CREATE TRIGGER topics_arrived BEFORE INSERT OR UPDATE ON pgtopic.topics FOR EACH ROW EXECUTE FUNCTION pgtopic.topics_arrived();
ALTER TABLE pgtopic.topics ENABLE REPLICA TRIGGER topics_arrived;
CREATE TRIGGER webhooks_arrived AFTER INSERT OR DELETE OR UPDATE ON pgtopic.webhooks FOR EACH ROW EXECUTE FUNCTION pgtopic.webhooks_arrived();
ALTER TABLE pgtopic.webhooks ENABLE REPLICA TRIGGER webhooks_arrived;
CREATE TRIGGER webhooks_all_went_elsewhere AFTER TRUNCATE ON pgtopic.webhooks FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();
ALTER TABLE pgtopic.webhooks ENABLE REPLICA TRIGGER webhooks_all_went_elsewhere;
