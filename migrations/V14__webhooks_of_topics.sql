-- A topic's row says who its webhooks are, for publishers, who read it anyway (V15 uses it).
--
-- A migration of its own: it locks topics, and V15 messages; a publisher locks both, in the other order.

-- Null, not the default, in what transactions with an older snapshot see: they must ask for the webhooks.
ALTER TABLE topics ADD COLUMN webhook_ids bigint[];
ALTER TABLE topics ALTER COLUMN webhook_ids SET DEFAULT '{}';
COMMENT ON COLUMN topics.webhook_ids IS 'Its webhooks, for publishers, kept by triggers on webhooks; null where one has a filter, so that each message is put to them.';

CREATE FUNCTION list_webhooks_of_topics(topic_ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- list_webhooks_of_topics: writes webhook_ids of some topics anew.
--
-- Two transactions that subscribe to one topic take turns: the second sees
-- what the first has committed, since it reads in a new statement. (Under
-- REPEATABLE READ it fails with 40001 instead.)
--
-- Parameters: topic_ids  of topics, which may be gone
-- Locks:      the topics' rows, to the end of the transaction; publishers do
--             not wait for them.
-- ----------------------------------------------------------------------
BEGIN
    PERFORM FROM topics t WHERE t.id = ANY (topic_ids) ORDER BY t.id FOR NO KEY UPDATE;
    UPDATE topics t
       SET webhook_ids = (SELECT CASE WHEN count(w.filter) = 0 THEN coalesce(array_agg(w.id ORDER BY w.id), '{}') END
                            FROM webhooks w
                           WHERE w.topic_id = t.id)
     WHERE t.id = ANY (topic_ids);
END
$$;

CREATE FUNCTION webhooks_came_or_went() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- webhooks_came_or_went: AFTER INSERT OR DELETE OR TRUNCATE on webhooks, for
-- each statement, and AFTER UPDATE OF filter, for each row that had one or has
-- one now: keeps webhook_ids of their topics.
--
-- Locks: as list_webhooks_of_topics.
-- ----------------------------------------------------------------------
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM list_webhooks_of_topics(ARRAY(SELECT t.id FROM topics t));
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM list_webhooks_of_topics(ARRAY[NEW.topic_id]);
    ELSE
        PERFORM list_webhooks_of_topics(ARRAY(SELECT DISTINCT c.topic_id FROM changed c));
    END IF;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION webhooks_came_or_went FROM PUBLIC;
CREATE TRIGGER webhooks_came AFTER INSERT ON webhooks
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION webhooks_came_or_went();
CREATE TRIGGER webhooks_went AFTER DELETE ON webhooks
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION webhooks_came_or_went();
CREATE TRIGGER webhooks_all_went AFTER TRUNCATE ON webhooks
    FOR EACH STATEMENT EXECUTE FUNCTION webhooks_came_or_went();

CREATE TRIGGER webhooks_filter_came_or_went AFTER UPDATE OF filter ON webhooks
    FOR EACH ROW WHEN ((OLD.filter IS NULL) <> (NEW.filter IS NULL)) EXECUTE FUNCTION webhooks_came_or_went();

-- Nobody changes webhooks from here to the migration's end.
SELECT list_webhooks_of_topics(ARRAY(SELECT id FROM topics));
