-- ----------------------------------------------------------------------
-- messages_publish: BEFORE INSERT on messages, for each row, the last of such
-- triggers by name.
--
-- Looks the topic up, takes the partition's stripe and only then gives the id.
-- The stripe is held to the end of the transaction, so ids rise in commit
-- order within a partition. Then, always after the lock, it reads the topic's
-- webhooks: who has subscribed while this publisher waited is owed what others
-- of this partition have published meanwhile, so this one too. It inserts one
-- delivery for every webhook whose filter lets the message through, paused and
-- disabled ones included, and a row in lanes for every lane that has none.
--
-- The row is not there yet, so nothing may keep it out any more, but for
-- errors. Message by message, so that a message is owed before the next one
-- has its id.
--
-- Every expression here costs each publisher, node by node, so one tells
-- whether all is valid, and one whether all is plain; what is not, is left to
-- messages_validate and messages_fan_out. No search path is set: every name
-- must be written out, those of operators too.
--
-- Raises: as messages_validate.
-- Locks:  advisory (stripe_class(), stripe) to the end of the transaction;
--         none on unordered topics, where no other transaction can know the
--         message's own lane before it is committed. The new rows.
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
    NEW.size_bytes := pg_catalog.octet_length(NEW.payload::pg_catalog.text);
    IF (NEW.size_bytes OPERATOR(pg_catalog.<=) accepted_bytes
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.>=) 1
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.<=) 1024
        AND NEW.headers IS NULL AND NEW.idempotency_key IS NULL
        AND NEW.created_at OPERATOR(pg_catalog.>=) '0001-01-01 00:00+00'
        AND NEW.created_at OPERATOR(pg_catalog.<) '9999-12-30 00:00+00') IS NOT TRUE
    THEN
        NEW := pgtopic.messages_validate(NEW, accepted_bytes);
    END IF;

    -- A function that is called with a null returns null, and takes no lock: so on unordered
    -- topics. Only then the id.
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
            webhook_ids := pgtopic.matching_webhooks(NEW.topic_id, NEW.payload);
        END IF;
        FOREACH webhook IN ARRAY webhook_ids LOOP
            -- No look for the lane first: its plan, kept from when lanes was empty, would read all
            -- of the table.
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
