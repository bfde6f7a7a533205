-- Publishing: ids in commit order, fan-out, wake-up.
--
-- SET search_path FROM CURRENT keeps the path the migration runs with: pgtopic's schema, then pg_temp.

CREATE FUNCTION stripe_class() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- stripe_class: the advisory-lock class of this installation.
--
-- Returns: the schema's oid, so that two installations in one database
--          do not share locks.
-- Locks:   none.
-- ----------------------------------------------------------------------
SELECT quote_ident(current_schema())::regnamespace::oid::integer
$$;

CREATE FUNCTION stripe(topic_id bigint, partition_key text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- stripe: the lock stripe of a partition, 0-1023.
--
-- A transaction that publishes to several partitions cannot deadlock with
-- another one if both insert ORDER BY stripe(topic_id, partition_key).
--
-- Returns: the partition's hash modulo 1024 (masked: the modulus of a
--          negative hash would be negative).
-- Locks:   none.
-- ----------------------------------------------------------------------
SELECT (hashtextextended(partition_key, topic_id) & 1023)::integer
$$;

CREATE FUNCTION filter_matches(filter jsonpath, payload json) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- filter_matches: whether a webhook's filter lets a payload through.
--
-- json may hold what jsonb refuses (\u0000, 1e200000): a filter that
-- cannot be evaluated lets the message through and is counted; it never
-- fails the publisher.
--
-- Returns: true where the path's predicate is true, or cannot be
--          evaluated; false where it is false or unknown.
-- Locks:   none.
-- ----------------------------------------------------------------------
BEGIN
    RETURN coalesce(payload::jsonb @@ filter, false);
EXCEPTION WHEN data_exception OR program_limit_exceeded OR feature_not_supported THEN
    PERFORM nextval('filter_errors');
    RETURN true;
END
$$;

CREATE FUNCTION messages_assign_id() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- messages_assign_id: BEFORE INSERT on messages, for each row.
--
-- Looks the topic up, takes the partition's stripe and only then gives
-- the id. The stripe is held to the end of the transaction, so ids rise in
-- commit order within a partition.
--
-- Raises: 23503 unknown topic, 55000 paused topic, 54000 payload too large.
-- Locks:  advisory (stripe_class(), stripe) to the end of the transaction;
--         none on unordered topics, where no other transaction can know
--         the message's own lane before it is committed.
-- ----------------------------------------------------------------------
DECLARE
    topic record;
BEGIN
    SELECT t.name, t.ordering, t.paused, t.max_payload_bytes INTO topic FROM topics t WHERE t.id = NEW.topic_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'topic % does not exist', NEW.topic_id
            USING ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'topic_id',
                  HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
    END IF;
    IF topic.paused THEN
        RAISE EXCEPTION 'topic "%" is paused and takes no messages', topic.name
            USING ERRCODE = 'object_not_in_prerequisite_state', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
                  COLUMN = 'topic_id';
    END IF;
    NEW.payload_bytes := octet_length(NEW.payload::text);
    IF NEW.payload_bytes > topic.max_payload_bytes THEN
        RAISE EXCEPTION 'payload of % bytes is larger than the % bytes that topic "%" takes',
            NEW.payload_bytes, topic.max_payload_bytes, topic.name
            USING ERRCODE = 'program_limit_exceeded', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'payload';
    END IF;
    NEW.partition_key := coalesce(NEW.partition_key, 'default');
    NEW.created_at := coalesce(NEW.created_at, now());
    IF topic.ordering <> 'none' THEN
        PERFORM pg_advisory_xact_lock(
            quote_ident(TG_TABLE_SCHEMA)::regnamespace::oid::integer,
            (hashtextextended(NEW.partition_key, NEW.topic_id) & 1023)::integer);
    END IF;
    NEW.id := nextval('message_ids');
    RETURN NEW;
END
$$;

CREATE FUNCTION wake_workers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- wake_workers: NOTIFY, if somebody listens who is not polling already.
--
-- Every transaction that has NOTIFYed commits under one cluster-wide lock,
-- so none is sent while workers poll anyway or while nobody listens. An
-- instant more than 10 s ahead was written before a step of the clock
-- and counts as unset. A full notification queue would fail the publisher
-- at COMMIT, where nothing can catch it.
--
-- Locks: with NOTIFY, the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
DECLARE
    now_us    bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    quiet     bigint := pg_sequence_last_value('quiet_until');
    listening bigint := pg_sequence_last_value('listening_until');
BEGIN
    IF listening > now_us AND listening < now_us + 10000000
        AND (quiet < now_us OR quiet > now_us + 10000000)
        AND pg_notification_queue_usage() < 0.5
    THEN
        PERFORM pg_notify(current_schema(), 'wake');
    END IF;
END
$$;

CREATE FUNCTION messages_fan_out() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- messages_fan_out: AFTER INSERT on messages, for each statement.
--
-- One delivery for every webhook of the topic whose filter lets the message
-- through, paused and disabled ones included; a row in lanes for every lane
-- that has none; then the wake-up.
--
-- Under REPEATABLE READ and SERIALIZABLE, ON CONFLICT DO NOTHING raises 40001
-- when the lane's row is newer than the snapshot. The row is there then and
-- cannot go away (its stripe is ours), so that error is good news; but it
-- hides which of the rows it was, hence one by one. Lanes that the snapshot
-- shows cannot be left out beforehand: they may have been retired since.
--
-- What is owed is computed once and joined to nothing: the plan is kept for
-- the session, and one made for a single message would be quadratic for
-- ten thousand.
--
-- Locks: inserts in primary-key order; the stripes are held already.
-- ----------------------------------------------------------------------
DECLARE
    ready record;
BEGIN
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        WITH owed AS MATERIALIZED (
            SELECT w.id AS webhook_id, p.id AS message_id, p.partition_key,
                   CASE t.ordering WHEN 'none' THEN p.id ELSE hashtextextended(p.partition_key, p.topic_id) END AS lane
              FROM published p
              JOIN topics t ON t.id = p.topic_id
              JOIN webhooks w ON w.topic_id = p.topic_id
             WHERE w.filter IS NULL OR filter_matches(w.filter, p.payload)
        ), fanned AS (
            INSERT INTO deliveries (webhook_id, lane, message_id)
            SELECT o.webhook_id, o.lane, o.message_id FROM owed o ORDER BY 1, 2, 3
        )
        INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position)
        SELECT o.webhook_id, o.lane, min(o.partition_key), clock_timestamp(), min(o.message_id) - 1
          FROM owed o
         GROUP BY o.webhook_id, o.lane
         ORDER BY o.webhook_id, o.lane
        ON CONFLICT DO NOTHING;
    ELSE
        FOR ready IN
            WITH owed AS MATERIALIZED (
                SELECT w.id AS webhook_id, p.id AS message_id, p.partition_key,
                       CASE t.ordering WHEN 'none' THEN p.id ELSE hashtextextended(p.partition_key, p.topic_id) END AS lane
                  FROM published p
                  JOIN topics t ON t.id = p.topic_id
                  JOIN webhooks w ON w.topic_id = p.topic_id
                 WHERE w.filter IS NULL OR filter_matches(w.filter, p.payload)
            ), fanned AS (
                INSERT INTO deliveries (webhook_id, lane, message_id)
                SELECT o.webhook_id, o.lane, o.message_id FROM owed o ORDER BY 1, 2, 3
            )
            SELECT o.webhook_id, o.lane, min(o.partition_key) AS partition_key, min(o.message_id) - 1 AS position
              FROM owed o
             GROUP BY o.webhook_id, o.lane
             ORDER BY o.webhook_id, o.lane
        LOOP
            BEGIN
                INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position)
                VALUES (ready.webhook_id, ready.lane, ready.partition_key, clock_timestamp(), ready.position)
                ON CONFLICT DO NOTHING;
            EXCEPTION WHEN serialization_failure THEN
                -- A plain insert tells that error from one that SERIALIZABLE raises for reasons of its own.
                BEGIN
                    INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position)
                    VALUES (ready.webhook_id, ready.lane, ready.partition_key, clock_timestamp(), ready.position);
                EXCEPTION WHEN unique_violation THEN
                    NULL;
                END;
            END;
        END LOOP;
    END IF;
    PERFORM wake_workers();
    RETURN NULL;
END
$$;

CREATE TRIGGER messages_assign_id BEFORE INSERT ON messages
    FOR EACH ROW EXECUTE FUNCTION messages_assign_id();

CREATE TRIGGER messages_fan_out AFTER INSERT ON messages
    REFERENCING NEW TABLE AS published
    FOR EACH STATEMENT EXECUTE FUNCTION messages_fan_out();

CREATE FUNCTION publish(
    topic           text,
    partition_key   text,
    payload         json,
    headers         json DEFAULT NULL,
    idempotency_key text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- publish: publish one message to a topic by its name.
--
-- Parameters:
--   topic            the topic's name
--   partition_key    messages with one key stay in order
--   payload          what is sent, byte for byte
--   headers          headers sent with it, an object of strings
--   idempotency_key  publishing again with the same key does nothing
--
-- Returns: the message's id; with an idempotency key that was used before
--          in this topic, the id it was first used for.
-- Raises:  23503 unknown topic, and what INSERT INTO messages raises.
-- Locks:   as INSERT INTO messages.
-- ----------------------------------------------------------------------
#variable_conflict use_column
DECLARE
    topic_key  bigint;
    message_id bigint;
BEGIN
    SELECT t.id INTO topic_key FROM topics t WHERE t.name = publish.topic;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'topic "%" does not exist', publish.topic
            USING ERRCODE = 'foreign_key_violation', HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
    END IF;
    LOOP
        IF publish.idempotency_key IS NOT NULL THEN
            SELECT m.id INTO message_id FROM messages m
             WHERE m.topic_id = topic_key AND m.idempotency_key = publish.idempotency_key;
            IF FOUND THEN
                RETURN message_id;
            END IF;
        END IF;
        INSERT INTO messages (topic_id, partition_key, payload, headers, idempotency_key)
        VALUES (topic_key, publish.partition_key, publish.payload, publish.headers, publish.idempotency_key)
        ON CONFLICT (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING id INTO message_id;
        -- Nothing returned: another transaction used the key and has committed since; look again.
        EXIT WHEN message_id IS NOT NULL;
    END LOOP;
    RETURN message_id;
END
$$;
REVOKE EXECUTE ON FUNCTION publish FROM PUBLIC;

CREATE FUNCTION webhooks_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- webhooks_changed: AFTER INSERT OR UPDATE OR DELETE on webhooks and
-- UPDATE OR DELETE on topics, for each statement: tells the workers to read
-- the webhooks anew.
--
-- Locks: the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
BEGIN
    IF pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify(current_schema(), 'webhooks');
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER webhooks_changed AFTER INSERT OR UPDATE OR DELETE ON webhooks
    FOR EACH STATEMENT EXECUTE FUNCTION webhooks_changed();
CREATE TRIGGER topics_changed AFTER UPDATE OR DELETE ON topics
    FOR EACH STATEMENT EXECUTE FUNCTION webhooks_changed();

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- refuse_change: BEFORE UPDATE of a column that never changes.
--
-- A message's lane follows from its topic's ordering: were it to change,
-- one partition would have two lanes.
--
-- Raises: 55000. Locks: none.
-- ----------------------------------------------------------------------
BEGIN
    RAISE EXCEPTION '%.% cannot be changed', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;

CREATE TRIGGER topics_ordering_never_changes BEFORE UPDATE OF ordering ON topics
    FOR EACH ROW WHEN (OLD.ordering <> NEW.ordering) EXECUTE FUNCTION refuse_change('ordering');
CREATE TRIGGER webhooks_topic_never_changes BEFORE UPDATE OF topic_id ON webhooks
    FOR EACH ROW WHEN (OLD.topic_id <> NEW.topic_id) EXECUTE FUNCTION refuse_change('topic_id');
