-- ----------------------------------------------------------------------
-- messages_publish: BEFORE INSERT on messages, for each row; by name the last
-- of such triggers.
--
-- Reads the topic, takes the partition's stripe, and only then takes the id.
-- The stripe is held to the end of the transaction, so ids rise in commit order
-- within a partition. Then it inserts one delivery for each webhook whose
-- filter lets the message through, also for paused and disabled ones, and one
-- lane if there is none.
--
-- The webhooks are read after the stripe was taken. A webhook may have been
-- created while this publisher waited. It is owed what others have published to
-- this partition meanwhile. So it must be owed this message too.
--
-- The message is not inserted yet. Once this function has run, its deliveries
-- exist. If a later trigger drops the row, they end as dead letters. Each
-- message is fanned out by itself, so that it is owed before the next one gets
-- its id.
--
-- Each node of an expression here costs every publisher. So one expression
-- tells whether the message needs messages_validate, and one whether it needs
-- messages_fan_out. No search path is set: every name must be written in full,
-- also those of operators.
--
-- Raises: as messages_validate.
-- Locks:  advisory (stripe_class(), stripe) to the end of the transaction. None
--         on unordered topics: no other transaction can know the message's own
--         lane before the commit. The new rows.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.messages_publish() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
AS $$
DECLARE
    accepted_bytes integer;
    stripe         integer;
    webhook_ids    bigint[];
    webhook        bigint;
BEGIN
    SELECT t.accepted_bytes, t.stripes INTO accepted_bytes, stripe
      FROM pgtopic.topics t
     WHERE t.id OPERATOR(pg_catalog.=) NEW.topic_id;
    NEW.published_at := pg_catalog.clock_timestamp();
    NEW.size_bytes := pg_catalog.octet_length(NEW.payload::pg_catalog.text);
    IF (NEW.size_bytes OPERATOR(pg_catalog.<=) accepted_bytes
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.>=) 1
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.<=) 1024
        AND COALESCE(pg_catalog.octet_length(NEW.type), 1) OPERATOR(pg_catalog.>=) 1
        AND COALESCE(pg_catalog.octet_length(NEW.type), 1) OPERATOR(pg_catalog.<=) 255
        AND NEW.headers IS NULL AND NEW.idempotency_key IS NULL
        AND NEW.created_at OPERATOR(pg_catalog.>=) '0001-01-01 00:00+00'
        AND NEW.created_at OPERATOR(pg_catalog.<) '9999-12-30 00:00+00') IS NOT TRUE
    THEN
        NEW := pgtopic.messages_validate(NEW, accepted_bytes);
    END IF;

    -- The id is taken after the lock. On unordered topics the stripe is null: then the lock
    -- function takes no lock and returns null.
    NEW.lane := pg_catalog.hashtextextended(NEW.partition_key, NEW.topic_id);
    stripe := stripe OPERATOR(pg_catalog.|) (NEW.lane OPERATOR(pg_catalog.&) 255)::integer;
    IF pg_catalog.pg_advisory_xact_lock('"pgtopic"'::pg_catalog.regnamespace::pg_catalog.oid::integer, stripe) IS NOT NULL THEN
        NEW.id := pg_catalog.nextval('pgtopic.message_ids'::pg_catalog.regclass);
    ELSE
        NEW.id := pg_catalog.nextval('pgtopic.message_ids'::pg_catalog.regclass);
        NEW.lane := NEW.id;
    END IF;
    SELECT t.webhook_ids INTO webhook_ids
      FROM pgtopic.topics t
     WHERE t.id OPERATOR(pg_catalog.=) NEW.topic_id;

    IF NEW.idempotency_key IS NULL
        AND pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'read committed'
    THEN
        IF webhook_ids IS NULL THEN
            webhook_ids := pgtopic.matching_webhooks(NEW.topic_id, NEW.type, NEW.payload);
        END IF;
        FOREACH webhook IN ARRAY webhook_ids LOOP
            -- The lane is not looked up first: the plan for that, made while lanes was empty, would
            -- read all of the table.
            WITH fanned AS (
                INSERT INTO pgtopic.deliveries (webhook_id, lane, message_id) VALUES (webhook, NEW.lane, NEW.id)
            )
            INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
            VALUES (webhook, NEW.lane, stripe, NEW.partition_key, pg_catalog.clock_timestamp(), NEW.id OPERATOR(pg_catalog.-) 1)
            ON CONFLICT DO NOTHING;
        END LOOP;
        IF webhook IS NULL THEN
            RETURN NEW;
        END IF;
    ELSIF NOT pgtopic.messages_fan_out(NEW, stripe, webhook_ids) THEN
        RETURN NEW;
    END IF;
    IF pg_catalog.pg_sequence_last_value('pgtopic.notify_until'::pg_catalog.regclass) OPERATOR(pg_catalog.>)
        (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)
    THEN
        PERFORM pgtopic.notify_workers(NEW.id, stripe);
    END IF;
    RETURN NEW;
END
$$;
