-- Publishing for less: the trigger that gives a message its id fans it out as well, webhook by webhook.
--
-- The statement trigger cost a single message 154,000 of its 300,600 instructions, most of them to build a plan over a
-- transition table and tear it down. Two rows of constants cost a fraction of that, once the publisher knows the topic's webhooks.

CREATE UNLOGGED TABLE used_idempotency_keys (
    topic_id        bigint NOT NULL,
    idempotency_key text   NOT NULL,
    PRIMARY KEY (topic_id, idempotency_key)
);
COMMENT ON TABLE used_idempotency_keys IS 'Always empty for everybody: publishers that use one key wait here for one another.';

CREATE FUNCTION idempotency_key_is_new(topic_id bigint, idempotency_key text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
-- ----------------------------------------------------------------------
-- idempotency_key_is_new: whether a message with this key will be there, or
-- be refused or left out since there is one already.
--
-- Messages are fanned out before they are inserted, and ON CONFLICT must not
-- leave one out that is owed. So whoever uses a key inserts and deletes a
-- row in a table of keys: another one waits there until that transaction
-- has ended, and then sees its message. A message that is being deleted is
-- waited for, and one that is found cannot be deleted before we are done.
-- (Locks by number would be too many for the server in a bulk load.)
--
-- Locks: the key, and the message that was found FOR SHARE, to the end of the
--        transaction.
-- ----------------------------------------------------------------------
#variable_conflict use_variable
DECLARE
    place tid;
BEGIN
    INSERT INTO used_idempotency_keys AS u VALUES (topic_id, idempotency_key) RETURNING u.ctid INTO place;
    DELETE FROM used_idempotency_keys u WHERE u.ctid = place;
    PERFORM FROM messages m WHERE m.topic_id = topic_id AND m.idempotency_key = idempotency_key FOR SHARE;
    RETURN NOT FOUND;
END
$$;

DROP FUNCTION hand_over(bigint, bigint, bigint, text, json, json, timestamptz);
CREATE FUNCTION hand_over(
    message_id    bigint,
    webhook_ids   bigint[],
    lane          bigint,
    partition_key text,
    payload       json,
    headers       json,
    created_at    timestamptz
) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
-- ----------------------------------------------------------------------
-- hand_over: what messages_fan_out does with the first messages of a
-- transaction while workers wait to be notified.
--
-- The lanes that the message begins are made claimed by the worker that has
-- the least to do, one of those at random where several have; lanes that
-- workers hold stay theirs. Each of these workers is told the message. What
-- cannot be told (its lane waits, it is too long for a notification, or has
-- headers) becomes due as always, and everybody is woken.
--
-- The token of a lane that is handed over is the message's id, negative: no
-- claim has such a one, and no other lane of the same webhook.
--
-- Parameters: the message, and whom it is owed to: somebody.
-- Locks:      the new rows; the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
#variable_conflict use_variable
DECLARE
    marks  text := coalesce(current_setting('pgtopic.handed_over', true), '');
    notice text;
    taker  workers;
    owed   bigint[];
    begun  bigint[];
    told   bigint;
    holder record;
BEGIN
    -- A notification holds less than 8,000 bytes: some are left for the webhooks. Most of the queue is left to wake-ups, which are
    -- short. Text that cannot be turned into UTF-8 would end the worker's session.
    IF headers IS NULL AND octet_length(payload::text) < 6000
        AND pg_notification_queue_usage() < 0.1 AND current_setting('server_encoding') = 'UTF8'
    THEN
        notice := json_build_array(message_id, lane, (extract(epoch FROM created_at) * 1000000)::bigint, partition_key)::text
                  || E'\n' || payload::text;
        IF octet_length(notice) > 6000 THEN
            notice := NULL;
        END IF;
    END IF;
    -- Its row says each second that it lives. One that hangs keeps its lanes for as long as its lease: the fewer come to it the
    -- better. While an old snapshot is held, each of these seconds leaves a version of the row: after a while the search is not worth it.
    IF notice IS NOT NULL AND pg_relation_size('workers') <= 1048576 THEN
        SELECT w.* INTO taker
          FROM workers w
         WHERE w.accepts AND w.channel IS NOT NULL
           AND w.heartbeat_at > clock_timestamp() - interval '1.5 s'
           AND w.heartbeat_at < clock_timestamp() + interval '1.5 s'
         ORDER BY w.in_flight, random()
         LIMIT 1;
    ELSE
        taker := NULL;
    END IF;

    WITH owed AS MATERIALIZED (
        SELECT w.id AS webhook_id,
               w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND row_number() OVER () <= 30 AS open
          FROM webhooks w
         WHERE w.id = ANY (webhook_ids)
    ), fanned AS (
        INSERT INTO deliveries (webhook_id, lane, message_id)
        SELECT o.webhook_id, hand_over.lane, hand_over.message_id FROM owed o
    ), made AS (
        INSERT INTO lanes AS l (webhook_id, lane, partition_key, due_at, position, claimed_by, token)
        SELECT o.webhook_id, hand_over.lane, hand_over.partition_key, clock_timestamp(), hand_over.message_id - 1,
               CASE WHEN o.open THEN taker.id END,
               CASE WHEN o.open AND taker.id IS NOT NULL THEN -hand_over.message_id END
          FROM owed o
        ON CONFLICT DO NOTHING
        RETURNING l.webhook_id, l.claimed_by
    )
    SELECT (SELECT array_agg(o.webhook_id) FROM owed o),
           (SELECT array_agg(m.webhook_id) FROM made m WHERE m.claimed_by IS NOT NULL)
      INTO owed, begun;
    IF owed IS NULL THEN
        RETURN;
    END IF;

    IF begun IS NOT NULL THEN
        PERFORM pg_notify(taker.channel::text, json_build_array(begun, '{}'::json[])::text || E'\n' || notice);
    END IF;
    told := coalesce(cardinality(begun), 0);
    IF told < cardinality(owed) AND notice IS NOT NULL THEN
        -- Lanes that workers hold. What came before the message in its lane and is still owed, and how often the lane was
        -- rewound, tells the holder whether it knows of all that. Whoever adds to a lane or rewinds it holds the stripe, as we do.
        FOR holder IN
            SELECT w.channel, count(*) AS lanes, json_agg(json_build_array(h.webhook_id, l.rewinds, l.previous)) AS held
              FROM unnest(owed) WITH ORDINALITY AS h (webhook_id, n)
             CROSS JOIN LATERAL (
                SELECT x.claimed_by, x.rewinds,
                       (SELECT max(d.message_id) FROM deliveries d
                         WHERE d.webhook_id = h.webhook_id AND d.lane = hand_over.lane
                           AND d.message_id > x.position AND d.message_id < hand_over.message_id) AS previous
                  FROM lanes x
                 WHERE x.webhook_id = h.webhook_id AND x.lane = hand_over.lane
                 LIMIT 1) l
              JOIN workers w ON w.id = l.claimed_by
             WHERE h.n <= 30 AND w.channel IS NOT NULL AND h.webhook_id <> ALL (coalesce(begun, '{}'))
             GROUP BY w.channel
        LOOP
            told := told + holder.lanes;
            PERFORM pg_notify(holder.channel::text,
                              json_build_array('{}'::bigint[], holder.held)::text || E'\n' || notice);
        END LOOP;
    END IF;
    IF told > 0 THEN
        PERFORM set_config('pgtopic.handed_over', marks || '.', true);
    END IF;
    IF told < cardinality(owed) THEN
        PERFORM wake_workers();
    END IF;
END
$$;

CREATE FUNCTION messages_fan_out(message messages, webhook_ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
AS $$
-- ----------------------------------------------------------------------
-- messages_fan_out: what messages_publish does with a message that is not
-- plain: one with an idempotency key, of a publisher with an old snapshot,
-- or while workers wait to be notified.
--
-- Under REPEATABLE READ and SERIALIZABLE, ON CONFLICT DO NOTHING raises 40001
-- when the lane's row is newer than the snapshot. The row is there then and
-- cannot go away (its stripe is ours), so that error is good news. A lane
-- that the snapshot shows cannot be left out beforehand: it may have been
-- retired since.
--
-- A transaction hands its first few messages over (hand_over marks each in
-- pgtopic.handed_over). After the first that it cannot, everybody is woken,
-- and with pgtopic.woken what follows is plain.
--
-- Parameters:
--   message      with its id and lane
--   webhook_ids  its topic's webhooks, or null where one has a filter
--
-- Locks: the new rows; as idempotency_key_is_new; with NOTIFY, the commit
--        takes the cluster's notification lock.
-- ----------------------------------------------------------------------
DECLARE
    committed boolean := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
    now_us    bigint  := extract(epoch FROM clock_timestamp()) * 1000000;
    listening bigint  := pg_sequence_last_value('listening_until');
    quiet     bigint  := pg_sequence_last_value('quiet_until');
    awake     boolean := listening > now_us AND (quiet < now_us OR quiet > now_us + 10000000)
                         AND current_setting('pgtopic.woken', true) IS DISTINCT FROM 'true';
    marks     text    := coalesce(current_setting('pgtopic.handed_over', true), '');
    webhook   bigint;
BEGIN
    IF message.idempotency_key IS NOT NULL AND NOT idempotency_key_is_new(message.topic_id, message.idempotency_key) THEN
        RETURN;
    END IF;
    webhook_ids := coalesce(webhook_ids, matching_webhooks(message.topic_id, message.payload));
    IF webhook_ids = '{}' THEN
        RETURN;
    END IF;
    IF awake AND committed AND length(marks) < 10 THEN
        PERFORM hand_over(message.id, webhook_ids, message.lane, message.partition_key, message.payload, message.headers,
                          message.created_at);
        awake := coalesce(current_setting('pgtopic.handed_over', true), '') = marks;
        webhook_ids := '{}';
    END IF;
    FOREACH webhook IN ARRAY webhook_ids LOOP
        INSERT INTO deliveries (webhook_id, lane, message_id) VALUES (webhook, message.lane, message.id);
        IF committed THEN
            INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position)
            VALUES (webhook, message.lane, message.partition_key, clock_timestamp(), message.id - 1)
            ON CONFLICT DO NOTHING;
            CONTINUE;
        END IF;
        BEGIN
            INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position)
            VALUES (webhook, message.lane, message.partition_key, clock_timestamp(), message.id - 1)
            ON CONFLICT DO NOTHING;
        EXCEPTION WHEN serialization_failure THEN
            -- A plain insert tells that error from one that SERIALIZABLE raises for reasons of its own.
            BEGIN
                INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position)
                VALUES (webhook, message.lane, message.partition_key, clock_timestamp(), message.id - 1);
            EXCEPTION WHEN unique_violation THEN
                NULL;
            END;
        END;
    END LOOP;
    IF awake THEN
        PERFORM wake_workers();
        PERFORM set_config('pgtopic.woken', 'true', true);
    END IF;
END
$$;

-- A name in a function's text must be written out, and the schema's name is not known here. @schema@ stands for it, and
-- @quoted@ for it within a string.
DO $migration$
BEGIN
    EXECUTE replace(replace($functions$

CREATE FUNCTION matching_webhooks(topic_id bigint, payload json) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE
AS $pgtopic$
-- ----------------------------------------------------------------------
-- matching_webhooks: whom a message is owed to. No search path is set, as in
-- messages_publish.
--
-- Returns: the topic's webhooks whose filter lets the payload through, in the
--          order of their ids.
-- Locks:   none.
-- ----------------------------------------------------------------------
BEGIN
    RETURN ARRAY(SELECT w.id
                   FROM @schema@.webhooks w
                  WHERE w.topic_id OPERATOR(pg_catalog.=) matching_webhooks.topic_id
                    AND (w.filter IS NULL OR @schema@.filter_matches(w.filter, matching_webhooks.payload))
                  ORDER BY w.id);
END
$pgtopic$;

CREATE FUNCTION messages_publish() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $pgtopic$
-- ----------------------------------------------------------------------
-- messages_publish: BEFORE INSERT on messages, for each row.
--
-- Looks the topic up, takes the partition's stripe and only then gives
-- the id. The stripe is held to the end of the transaction, so ids rise in
-- commit order within a partition. Then one delivery for every webhook of the
-- topic whose filter lets the message through, paused and disabled ones
-- included, and a row in lanes for every lane that has none.
--
-- The row is not there yet, so nothing may keep it out any more, but for
-- errors. Message by message, so that a message is owed before the next one
-- has its id.
--
-- Every expression here costs each publisher, node by node, so one tells
-- whether all is valid, and one whether all is plain; what is not, is left to
-- messages_check and messages_fan_out. No search path is set: every name must
-- be written out, those of operators too.
--
-- Raises: as messages_check.
-- Locks:  advisory (stripe_class(), stripe) to the end of the transaction;
--         none on unordered topics, where no other transaction can know
--         the message's own lane before it is committed. The new rows.
-- ----------------------------------------------------------------------
DECLARE
    takes_bytes integer;
    stripes     bigint;
    webhook_ids bigint[];
    webhook     bigint;
    now_us      bigint;
    quiet_until bigint;
BEGIN
    SELECT t.takes_bytes, t.stripes, t.webhook_ids INTO takes_bytes, stripes, webhook_ids
      FROM @schema@.topics t
     WHERE t.id OPERATOR(pg_catalog.=) NEW.topic_id;
    NEW.payload_bytes := pg_catalog.octet_length(NEW.payload::pg_catalog.text);
    IF (NEW.payload_bytes OPERATOR(pg_catalog.<=) takes_bytes
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.>=) 1
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.<=) 1024
        AND NEW.headers IS NULL AND NEW.idempotency_key IS NULL
        AND NEW.created_at OPERATOR(pg_catalog.>=) '0001-01-01 00:00+00'
        AND NEW.created_at OPERATOR(pg_catalog.<) '9999-12-30 00:00+00') IS NOT TRUE
    THEN
        NEW := @schema@.messages_check(NEW, takes_bytes);
    END IF;

    -- Without stripes there is nothing to lock: the function is not called with a null, and returns null. Only then the id.
    NEW.lane := pg_catalog.hashtextextended(NEW.partition_key, NEW.topic_id);
    IF pg_catalog.pg_try_advisory_xact_lock(
        '@quoted@'::pg_catalog.regnamespace::pg_catalog.oid::integer,
        (NEW.lane OPERATOR(pg_catalog.&) stripes)::integer)
    THEN
        NEW.id := pg_catalog.nextval('@quoted@.message_ids'::pg_catalog.regclass);
    ELSIF stripes IS NULL THEN
        NEW.id := pg_catalog.nextval('@quoted@.message_ids'::pg_catalog.regclass);
        NEW.lane := NEW.id;
    ELSE
        PERFORM pg_catalog.pg_advisory_xact_lock(
            '@quoted@'::pg_catalog.regnamespace::pg_catalog.oid::integer,
            (NEW.lane OPERATOR(pg_catalog.&) stripes)::integer);
        NEW.id := pg_catalog.nextval('@quoted@.message_ids'::pg_catalog.regclass);
        -- Who has subscribed meanwhile is owed what others of this partition have published meanwhile, so this one too.
        SELECT t.webhook_ids INTO webhook_ids
          FROM @schema@.topics t
         WHERE t.id OPERATOR(pg_catalog.=) NEW.topic_id;
    END IF;

    -- What is not plain at first sight is looked at more closely: each condition more up here would cost every publisher.
    IF (NEW.idempotency_key IS NULL AND webhook_ids IS NOT NULL
        AND pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'read committed'
        AND pg_catalog.pg_sequence_last_value('@quoted@.listening_until'::pg_catalog.regclass) OPERATOR(pg_catalog.<=)
            (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)) IS NOT TRUE
    THEN
        now_us := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000;
        quiet_until := pg_catalog.pg_sequence_last_value('@quoted@.quiet_until'::pg_catalog.regclass);
        IF (NEW.idempotency_key IS NULL
            AND pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'read committed'
            AND (pg_catalog.pg_sequence_last_value('@quoted@.listening_until'::pg_catalog.regclass) OPERATOR(pg_catalog.<=) now_us
              OR quiet_until OPERATOR(pg_catalog.>) now_us
                 AND quiet_until OPERATOR(pg_catalog.<=) (now_us OPERATOR(pg_catalog.+) 10000000)
              OR pg_catalog.current_setting('pgtopic.woken', true) OPERATOR(pg_catalog.=) 'true')) IS NOT TRUE
        THEN
            PERFORM @schema@.messages_fan_out(NEW, webhook_ids);
            RETURN NEW;
        END IF;
        webhook_ids := coalesce(webhook_ids, @schema@.matching_webhooks(NEW.topic_id, NEW.payload));
    END IF;
    FOREACH webhook IN ARRAY webhook_ids LOOP
        -- No look for the lane first: its plan, kept from when lanes was empty, would read all of the table.
        WITH fanned AS (
            INSERT INTO @schema@.deliveries (webhook_id, lane, message_id) VALUES (webhook, NEW.lane, NEW.id)
        )
        INSERT INTO @schema@.lanes (webhook_id, lane, partition_key, due_at, position)
        VALUES (webhook, NEW.lane, NEW.partition_key, pg_catalog.clock_timestamp(), NEW.id OPERATOR(pg_catalog.-) 1)
        ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN NEW;
END
$pgtopic$;

    $functions$, '@schema@', quote_ident(current_schema())), '@quoted@', replace(quote_ident(current_schema()), '''', ''''''));
END
$migration$;

DROP TRIGGER messages_fan_out ON messages;
DROP FUNCTION messages_fan_out();
DROP TRIGGER messages_assign_id ON messages;
DROP FUNCTION messages_assign_id();
REVOKE EXECUTE ON FUNCTION messages_publish FROM PUBLIC;
CREATE TRIGGER messages_publish BEFORE INSERT ON messages
    FOR EACH ROW EXECUTE FUNCTION messages_publish();
