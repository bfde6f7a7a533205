-- ----------------------------------------------------------------------
-- record_webhook_change: AFTER UPDATE on webhooks, for each row that was paused,
-- resumed, disabled, enabled or started, or whose overflow has begun or ended.
-- Adds a row to changes for each of these.
--
-- Locks: the new rows.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.record_webhook_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
    SELECT c.kind, NEW.topic_id, NEW.id, c.reason, pgtopic.changed_by()
      FROM (VALUES (1, CASE WHEN NEW.paused THEN 'webhook.paused' ELSE 'webhook.resumed' END, NULL, NEW.paused <> OLD.paused),
                   (2, 'webhook.disabled', NEW.disabled_reason, NEW.disabled_reason IS NOT NULL AND OLD.disabled_reason IS NULL),
                   (3, 'webhook.enabled', OLD.disabled_reason, NEW.disabled_reason IS NULL AND OLD.disabled_reason IS NOT NULL),
                   (4, 'webhook.started', NULL, NEW.state = 'active' AND OLD.state = 'starting'),
                   (5, CASE WHEN NEW.overflowing THEN 'webhook.overflowing' ELSE 'webhook.overflow_ended' END,
                    CASE WHEN NEW.overflowing THEN format('it is owed more than %s messages; on_overflow is %s', NEW.max_owed, NEW.on_overflow) END,
                    NEW.overflowing <> OLD.overflowing)) AS c (place, kind, reason, happened)
     WHERE c.happened
     ORDER BY c.place;
    RETURN NULL;
END
$$;
