-- ----------------------------------------------------------------------
-- record_exhausted: record that deliveries were given up: one change
-- (delivery.exhausted) for each webhook, however many there are. Nothing is
-- recorded while nobody subscribes to events. The leader calls this once a
-- minute.
--
-- A dead letter that was committed later than one with a greater id may be left
-- out.
--
-- Parameters:
--   at_most   how many dead letters to look at
--
-- Returns: how many changes were recorded.
-- Locks:   the row of installation.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.record_exhausted(at_most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    told     bigint;
    newest   bigint := (SELECT max(d.id) FROM pgtopic.dead_letters d);
    recorded integer := 0;
BEGIN
    SELECT i.dead_letters_told INTO told FROM pgtopic.installation i FOR UPDATE;
    IF newest IS NULL OR newest <= told THEN
        RETURN 0;
    END IF;
    IF pgtopic.events_topic() IS NOT NULL THEN
        INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, partition_key, message_id, reason, changed_by)
        SELECT 'delivery.exhausted', w.topic_id, w.id, d.partition_key, d.message_id,
               format('%s given up; the last one: %s', g.count, coalesce(d.last_error, d.reason)), 'leader'
          FROM (SELECT x.webhook_id, count(*) AS count, max(x.id) AS latest
                  FROM (SELECT y.* FROM pgtopic.dead_letters y WHERE y.id > told ORDER BY y.id DESC LIMIT at_most) x
                 WHERE x.reason IN ('attempts_exhausted', 'permanent', 'expired', 'overflow')
                 GROUP BY x.webhook_id) g
          JOIN pgtopic.dead_letters d ON d.id = g.latest
          JOIN pgtopic.webhooks w ON w.id = g.webhook_id
         ORDER BY w.id;
        GET DIAGNOSTICS recorded = ROW_COUNT;
    END IF;
    UPDATE pgtopic.installation SET dead_letters_told = newest;
    RETURN recorded;
END
$$;
