-- Written by a test, see schema.rs.
BEGIN;
CREATE SCHEMA IF NOT EXISTS "pgtopic";
SET LOCAL search_path = pg_catalog, "pgtopic", pg_temp;
CREATE TABLE IF NOT EXISTS "pgtopic".schema_history (version integer PRIMARY KEY, name varchar(255), applied_on varchar(255), checksum varchar(255));

-- The schema: tables, types, sequences, indexes. Functions, triggers and grants stand in sql/functions, sql/triggers.sql and
-- sql/grants.sql; `pgtopic migrate` applies them after the migrations.
--
-- Until the first release this file is edited in place. After it, files under migrations/ never change.

CREATE TABLE pgtopic.installed (
    one            boolean     PRIMARY KEY DEFAULT true,
    number         integer     NOT NULL,
    works_from     integer     NOT NULL,
    functions_hash text        NOT NULL,
    applied_by     text        NOT NULL,
    applied_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT installed_one_check CHECK (one)
);
COMMENT ON TABLE pgtopic.installed IS 'What is installed here: one row.';
COMMENT ON COLUMN pgtopic.installed.number IS 'The newest migration whose functions, triggers and grants were applied; 0 before the first.';
COMMENT ON COLUMN pgtopic.installed.works_from IS 'The oldest binary, by its newest migration, that may still run on this schema.';
COMMENT ON COLUMN pgtopic.installed.functions_hash IS 'SHA-256 of the functions, triggers and grants that were applied, in hex.';
COMMENT ON COLUMN pgtopic.installed.applied_by IS 'The version of the pgtopic that applied them.';
INSERT INTO pgtopic.installed (number, works_from, functions_hash, applied_by) VALUES (0, 1, '', '');

CREATE TABLE pgtopic.installation (
    one    boolean PRIMARY KEY DEFAULT true,
    notify text    NOT NULL DEFAULT 'auto',
    CONSTRAINT installation_one_check CHECK (one),
    CONSTRAINT installation_notify_check CHECK (notify IN ('auto', 'on', 'off'))
);
COMMENT ON TABLE pgtopic.installation IS 'Settings of this installation: one row.';
COMMENT ON COLUMN pgtopic.installation.notify IS 'Whether transactions that publish NOTIFY; auto: where max_prepared_transactions is 0. Written by processes whose wake.notify is set.';
INSERT INTO pgtopic.installation DEFAULT VALUES;

CREATE TABLE pgtopic.topics (
    id                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name              text        NOT NULL CONSTRAINT topics_name_key UNIQUE,
    ordering          text        NOT NULL DEFAULT 'partition',
    retention         interval,
    paused            boolean     NOT NULL DEFAULT false,
    max_payload_bytes integer     NOT NULL DEFAULT 1048576,
    created_at        timestamptz NOT NULL DEFAULT now(),
    changed_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    accepted_bytes    integer     GENERATED ALWAYS AS (CASE WHEN paused THEN -1 ELSE max_payload_bytes END) STORED,
    stripes           integer     GENERATED ALWAYS AS (CASE ordering WHEN 'partition' THEN ((id & 2097151) << 8)::integer END) STORED,
    webhook_ids       bigint[]    DEFAULT '{}',
    CONSTRAINT topics_name_check CHECK (name ~ '^[A-Za-z0-9._-]{1,255}$' AND name !~ '^[0-9]+$'),
    CONSTRAINT topics_ordering_check CHECK (ordering IN ('partition', 'none')),
    CONSTRAINT topics_retention_check CHECK (retention > interval '0'),
    CONSTRAINT topics_max_payload_bytes_check CHECK (max_payload_bytes > 0)
);
CREATE INDEX topics_changed_at ON pgtopic.topics (changed_at);
COMMENT ON TABLE pgtopic.topics IS 'Named streams of messages.';
COMMENT ON COLUMN pgtopic.topics.name IS '1-255 of [A-Za-z0-9._-], not all digits, so that an id and a name never look alike.';
COMMENT ON COLUMN pgtopic.topics.ordering IS 'partition: messages with one partition key stay in commit order; none: each stands alone. Never changes.';
COMMENT ON COLUMN pgtopic.topics.retention IS 'How long messages that nobody is owed any more are kept; null keeps them.';
COMMENT ON COLUMN pgtopic.topics.paused IS 'A paused topic refuses messages.';
COMMENT ON COLUMN pgtopic.topics.max_payload_bytes IS 'The largest payload of one message, in bytes.';
COMMENT ON COLUMN pgtopic.topics.changed_at IS 'When the row was last written, or its webhooks came or went: workers that are not notified look here.';
COMMENT ON COLUMN pgtopic.topics.accepted_bytes IS 'For publishers: the largest payload that is accepted now; -1 while the topic is paused.';
COMMENT ON COLUMN pgtopic.topics.stripes IS 'For publishers: the first of the topic''s 256 stripes; null where the topic is unordered and takes no locks.';
COMMENT ON COLUMN pgtopic.topics.webhook_ids IS 'For publishers: its webhooks, kept by triggers on webhooks; null where one has a filter, so that each message is put to them.';

CREATE TABLE pgtopic.webhooks (
    id                    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic_id              bigint      NOT NULL REFERENCES pgtopic.topics (id) ON DELETE CASCADE,
    url                   text        NOT NULL,
    secrets               text[]      NOT NULL,
    headers               json        NOT NULL DEFAULT '{}',
    filter                jsonpath,
    format                text        NOT NULL DEFAULT 'raw',
    batch_size            integer     NOT NULL DEFAULT 1,
    max_retries           integer,
    backoff_factor        float8,
    max_backoff_seconds   integer,
    timeout_seconds       integer,
    on_exhausted          text        NOT NULL DEFAULT 'dead_letter',
    max_in_flight         integer,
    rate_limit_per_second float8,
    state                 text        NOT NULL DEFAULT 'active',
    paused                boolean     NOT NULL DEFAULT false,
    disabled_reason       text,
    created_at            timestamptz NOT NULL DEFAULT now(),
    changed_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT webhooks_format_check CHECK (format IN ('raw', 'envelope', 'cloudevents')),
    CONSTRAINT webhooks_batch_size_check CHECK (batch_size BETWEEN 1 AND 1000),
    CONSTRAINT webhooks_max_retries_check CHECK (max_retries >= 1),
    CONSTRAINT webhooks_backoff_factor_check CHECK (backoff_factor BETWEEN 1 AND 100),
    CONSTRAINT webhooks_max_backoff_seconds_check CHECK (max_backoff_seconds >= 1),
    CONSTRAINT webhooks_timeout_seconds_check CHECK (timeout_seconds BETWEEN 1 AND 600),
    CONSTRAINT webhooks_on_exhausted_check CHECK (on_exhausted IN ('dead_letter', 'halt')),
    CONSTRAINT webhooks_max_in_flight_check CHECK (max_in_flight >= 1),
    CONSTRAINT webhooks_rate_limit_per_second_check CHECK (rate_limit_per_second BETWEEN 0.001 AND 1000000),
    CONSTRAINT webhooks_headers_check CHECK (json_typeof(headers) = 'object'),
    CONSTRAINT webhooks_headers_size_check CHECK (octet_length(headers::text) <= 8192),
    CONSTRAINT webhooks_state_check CHECK (state IN ('starting', 'active'))
);
CREATE INDEX webhooks_topic ON pgtopic.webhooks (topic_id);
CREATE INDEX webhooks_changed_at ON pgtopic.webhooks (changed_at);
COMMENT ON TABLE pgtopic.webhooks IS 'Subscriptions of a URL to a topic. A null policy column means the worker''s delivery default.';
COMMENT ON COLUMN pgtopic.webhooks.secrets IS 'Signing secrets (whsec_...), newest first; each of them signs every request.';
COMMENT ON COLUMN pgtopic.webhooks.headers IS 'Headers of every request, an object of strings: at most 64 of them, 8,192 bytes of JSON text.';
COMMENT ON COLUMN pgtopic.webhooks.filter IS 'Only messages for which payload @@ filter is not false or null are owed.';
COMMENT ON COLUMN pgtopic.webhooks.state IS 'starting: fanned out to, not claimed yet; active: both.';
COMMENT ON COLUMN pgtopic.webhooks.disabled_reason IS 'Why requests stopped (a receiver answered 410 Gone, or no request can be made); null while enabled. The backlog is kept.';
COMMENT ON COLUMN pgtopic.webhooks.changed_at IS 'When the row was last written: workers that are not notified look here.';

-- Cache stays 1: ids must rise in the order they are given out.
CREATE SEQUENCE pgtopic.message_ids AS bigint CACHE 1;
COMMENT ON SEQUENCE pgtopic.message_ids IS 'Message ids, given out under the partition''s stripe lock.';

CREATE TABLE pgtopic.messages (
    id              bigint      PRIMARY KEY,
    topic_id        bigint      NOT NULL,
    partition_key   text        NOT NULL DEFAULT 'default',
    payload         json        NOT NULL,
    headers         json,
    idempotency_key text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    size_bytes      integer     NOT NULL,
    lane            bigint      NOT NULL,
    -- The limits of key, headers, time and idempotency key are checked by the trigger. Each CHECK costs every publisher about a
    -- tenth of an insert, since PostgreSQL reads it anew for each statement. This one no trigger can replace: one of somebody
    -- else's that runs after ours and changes key or topic would break the order, and its row is refused. (One that changes the id
    -- of an ordered message is not noticed here: what was owed is missing, and becomes a dead letter.)
    CONSTRAINT messages_lane_check CHECK (lane = hashtextextended(partition_key, topic_id) OR lane = id)
);
CREATE UNIQUE INDEX messages_idempotency_key ON pgtopic.messages (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Nearly free for publishers, and enough for retention to find what is old.
CREATE INDEX messages_created_at ON pgtopic.messages USING brin (created_at) WITH (autosummarize = on);
COMMENT ON TABLE pgtopic.messages IS 'Published events. INSERT here to publish; the id is given by a trigger.';
COMMENT ON COLUMN pgtopic.messages.topic_id IS 'No foreign key: the trigger has looked the topic up, and a second look costs publishers 15 %.';
COMMENT ON COLUMN pgtopic.messages.payload IS 'json, not jsonb: these very bytes are signed and sent.';
COMMENT ON COLUMN pgtopic.messages.headers IS 'Headers sent with the message, an object of strings: at most 64 of them, 8,192 bytes of JSON text.';
COMMENT ON COLUMN pgtopic.messages.created_at IS 'Within the years that RFC 3339 can write: it is sent to receivers.';
COMMENT ON COLUMN pgtopic.messages.size_bytes IS 'Length of payload and headers, given by the trigger: workers read by size without unpacking what they leave.';
COMMENT ON COLUMN pgtopic.messages.lane IS 'hashtextextended(partition_key, topic_id), or the id where the topic is unordered; given by the trigger.';

CREATE UNLOGGED TABLE pgtopic.used_idempotency_keys (
    topic_id        bigint NOT NULL,
    idempotency_key text   NOT NULL,
    PRIMARY KEY (topic_id, idempotency_key)
);
COMMENT ON TABLE pgtopic.used_idempotency_keys IS 'Always empty for everybody: publishers that use one key wait here for one another.';

CREATE TABLE pgtopic.deliveries (
    webhook_id bigint NOT NULL,
    lane       bigint NOT NULL,
    message_id bigint NOT NULL,
    PRIMARY KEY (webhook_id, lane, message_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);
COMMENT ON TABLE pgtopic.deliveries IS 'What is still owed: rows are inserted once and deleted once, never updated.';
COMMENT ON COLUMN pgtopic.deliveries.lane IS 'As in messages.';

CREATE TABLE pgtopic.lanes (
    webhook_id      bigint      NOT NULL,
    lane            bigint      NOT NULL,
    position        bigint      NOT NULL,
    due_at          timestamptz NOT NULL,
    token           bigint,
    head_message_id bigint,
    wait_seconds    float8,
    stripe          integer,
    generation      integer     NOT NULL DEFAULT 0,
    failures        integer     NOT NULL DEFAULT 0,
    halted          boolean     NOT NULL DEFAULT false,
    claimed_by      uuid,
    partition_key   text        NOT NULL,
    last_error      text,
    PRIMARY KEY (webhook_id, lane)
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
-- Half of each page stays free: every row is updated once, by its claim, and that update must fit beside it.
CREATE INDEX lanes_due ON pgtopic.lanes ((webhook_id + 0), due_at);
COMMENT ON INDEX pgtopic.lanes_due IS 'For looks at what is due: webhook_id + 0 = ... ORDER BY due_at.';
COMMENT ON TABLE pgtopic.lanes IS 'The ready queue: a lane has a row here only while it owes something, or a worker holds it.';
COMMENT ON COLUMN pgtopic.lanes.position IS 'Everything up to this message id has left the lane, unless a replay put it back; where reading begins.';
COMMENT ON COLUMN pgtopic.lanes.due_at IS 'When it may next be claimed: since it became ready, after a back-off, or never (halted). A claim leaves it as it is.';
COMMENT ON COLUMN pgtopic.lanes.token IS 'A counter of the worker that holds it, renewed with each claim; guards every write of the holder.';
COMMENT ON COLUMN pgtopic.lanes.head_message_id IS 'The message that failures, last_error, wait_seconds and halted belong to. For any other head they read as none.';
COMMENT ON COLUMN pgtopic.lanes.wait_seconds IS 'How long it was to wait when due_at was written; null where it was ready at once. A due_at further ahead than this is from before a step of the clock.';
COMMENT ON COLUMN pgtopic.lanes.stripe IS 'The advisory-lock key that its publishers hold; null where the topic is unordered.';
COMMENT ON COLUMN pgtopic.lanes.generation IS 'How often a replay lowered position; a holder that does not know the newest value must not move position.';
COMMENT ON COLUMN pgtopic.lanes.failures IS 'Failed attempts of head_message_id.';
COMMENT ON COLUMN pgtopic.lanes.halted IS 'Not sent until an operator acts.';
COMMENT ON COLUMN pgtopic.lanes.claimed_by IS 'The worker incarnation that holds it; null while nobody does.';

CREATE TABLE pgtopic.attempts (
    webhook_id       bigint      NOT NULL,
    message_id       bigint      NOT NULL,
    attempt          integer     NOT NULL,
    outcome          text        NOT NULL,
    status_code      smallint,
    error_class      text,
    error            text,
    duration_us      bigint      NOT NULL,
    response_excerpt text,
    worker_id        uuid        NOT NULL,
    attempted_at     timestamptz NOT NULL,
    CONSTRAINT attempts_outcome_check CHECK (outcome IN ('accepted', 'failed', 'gone')),
    CONSTRAINT attempts_error_class_check CHECK (error_class IN ('dns', 'connect', 'tls', 'forbidden', 'timeout', 'status', 'redirect',
                                                                 'protocol', 'request'))
) PARTITION BY RANGE (attempted_at);
CREATE INDEX attempts_delivery ON pgtopic.attempts (webhook_id, message_id);
COMMENT ON TABLE pgtopic.attempts IS 'Append-only log of every request, one partition a day.';
COMMENT ON COLUMN pgtopic.attempts.response_excerpt IS 'The first 2 KiB of the answer to a failed attempt.';

CREATE TABLE pgtopic.dead_letters (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id    bigint      NOT NULL,
    lane          bigint      NOT NULL,
    message_id    bigint      NOT NULL,
    topic_id      bigint      NOT NULL,
    partition_key text        NOT NULL,
    reason        text        NOT NULL,
    attempts      integer     NOT NULL,
    error_class   text,
    status_code   smallint,
    last_error    text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT dead_letters_delivery_key UNIQUE (webhook_id, message_id),
    CONSTRAINT dead_letters_reason_check CHECK (reason IN ('attempts_exhausted', 'message_missing')),
    CONSTRAINT dead_letters_error_class_check CHECK (error_class IN ('dns', 'connect', 'tls', 'forbidden', 'timeout', 'status',
                                                                     'redirect', 'protocol', 'request'))
);
CREATE INDEX dead_letters_message ON pgtopic.dead_letters (message_id);
CREATE INDEX dead_letters_webhook ON pgtopic.dead_letters (webhook_id, id);
COMMENT ON TABLE pgtopic.dead_letters IS 'The dead-letter partition of each webhook: deliveries that used up their attempts, kept until replayed or discarded.';
COMMENT ON COLUMN pgtopic.dead_letters.topic_id IS 'Topic and key are copies: a dead letter can be listed by them without its message.';
COMMENT ON COLUMN pgtopic.dead_letters.error_class IS 'How the last attempt failed; null where there was none.';

CREATE TABLE pgtopic.workers (
    id           uuid        PRIMARY KEY,
    lock_key     integer     NOT NULL,
    name         text        NOT NULL,
    version      text        NOT NULL,
    capacity     integer     NOT NULL,
    lease        interval    NOT NULL,
    in_flight    integer     NOT NULL DEFAULT 0,
    gone         boolean     NOT NULL DEFAULT false,
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE pgtopic.workers IS 'One row per worker incarnation, which holds the advisory lock (stripe_class(), lock_key) while it lives.';
COMMENT ON COLUMN pgtopic.workers.lease IS 'A worker whose heartbeat did not move for this long is taken for hung, and its lanes are released.';
COMMENT ON COLUMN pgtopic.workers.gone IS 'It was taken for dead or hung, or has stopped: it may claim nothing, and its lanes are anybody''s. The row goes when they are free.';

-- Stripes use the keys from 0 up.
CREATE SEQUENCE pgtopic.worker_lock_keys AS integer INCREMENT -1 MINVALUE -2147483648 MAXVALUE -1 START -1 CYCLE;
COMMENT ON SEQUENCE pgtopic.worker_lock_keys IS 'Advisory-lock keys of worker incarnations, below 0.';

-- Written with setval and read in place: no row versions, and visible to publishers with an old snapshot.
CREATE SEQUENCE pgtopic.notify_until AS bigint MINVALUE 0;
COMMENT ON SEQUENCE pgtopic.notify_until IS 'Until this instant (microseconds since 1970) publishers NOTIFY: a worker listens. 0 while workers poll.';
CREATE SEQUENCE pgtopic.notify_suppressed_until AS bigint MINVALUE 0;
COMMENT ON SEQUENCE pgtopic.notify_suppressed_until IS 'Until this instant (microseconds since 1970) workers poll, and none of them asks publishers to NOTIFY.';
CREATE SEQUENCE pgtopic.filter_errors AS bigint MINVALUE 0;
COMMENT ON SEQUENCE pgtopic.filter_errors IS 'How many filters could not be evaluated; those messages are delivered.';

-- The starting values say "never".
SELECT setval('pgtopic.notify_until', 0), setval('pgtopic.notify_suppressed_until', 0), setval('pgtopic.filter_errors', 0);
INSERT INTO "pgtopic".schema_history VALUES (1, 'schema', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '9462198004051334431');

SET check_function_bodies = off;
-- ----------------------------------------------------------------------
-- drop_attempt_partitions: forget the oldest days of attempts.
--
-- Parameters: days  how many days before today are kept
-- Returns:    how many partitions were dropped
-- Locks:      attempts ACCESS EXCLUSIVE for a moment, given up after 500 ms:
--             workers write the log meanwhile
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.drop_attempt_partitions(days integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp SET lock_timeout = '500ms'
AS $$
DECLARE
    dropped integer := 0;
    old     regclass;
BEGIN
    FOR old IN
        SELECT c.oid::regclass
          FROM pg_inherits i
          JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'pgtopic.attempts'::regclass
           AND c.relname < 'attempts_' || to_char((now() AT TIME ZONE 'UTC') - make_interval(days => drop_attempt_partitions.days), 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %s', old);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
-- ----------------------------------------------------------------------
-- make_attempt_partitions: partitions of attempts, from yesterday on.
--
-- Made apart and then attached: workers go on writing the log meanwhile. Days
-- are UTC.
--
-- Parameters: days  how many days ahead of today
-- Returns:    how many were made
-- Locks:      an advisory lock of its own; attempts SHARE UPDATE EXCLUSIVE,
--             given up after 500 ms
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.make_attempt_partitions(days integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp SET lock_timeout = '500ms'
AS $$
DECLARE
    made      integer := 0;
    first_day timestamp;
    name      text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('pgtopic attempts ' || pgtopic.stripe_class(), 0));
    FOR first_day IN
        SELECT generate_series(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day',
                               date_trunc('day', now() AT TIME ZONE 'UTC') + make_interval(days => make_attempt_partitions.days),
                               interval '1 day')
    LOOP
        name := 'attempts_' || to_char(first_day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(format('%I.%I', 'pgtopic', name)) IS NOT NULL;
        EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE %1$I.attempts INCLUDING ALL)', 'pgtopic', name);
        EXECUTE format('ALTER TABLE %1$I.attempts ATTACH PARTITION %1$I.%2$I FOR VALUES FROM (%3$L) TO (%4$L)', 'pgtopic', name,
            first_day AT TIME ZONE 'UTC', (first_day + interval '1 day') AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
-- ----------------------------------------------------------------------
-- claim_lanes: take the earliest due lanes of each webhook, and read them.
--
-- A claim leaves due_at as it is: no index entry is written for it, and none
-- is left behind for later looks to walk over.
--
-- Webhook by webhook, so that one webhook's thousands of due lanes are in
-- nobody else's way.
--
-- Parameters:
--   worker             the claiming incarnation
--   new_token          a value of its counter, never used before
--   webhook_ids        webhooks with room, and beside each:
--   slots                how many lanes to take at most
--   due_after            where to begin: null is a few seconds back
--   sweep              whether to take lanes, too, whose holder is not
--                      registered or gone
--   messages_per_lane, payload_budget   as read_claimed; 0 messages claims
--                      without reading
--
-- Returns: as read_claimed.
-- Raises:  as require_registered.
-- Locks:   as require_registered; the lanes FOR UPDATE SKIP LOCKED.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.claim_lanes(
    worker            uuid,
    new_token         bigint,
    webhook_ids       bigint[],
    slots             integer[],
    due_after         timestamptz[],
    sweep             boolean,
    messages_per_lane integer,
    payload_budget    bigint
) RETURNS TABLE (
    webhook_id bigint, lane bigint, due_at timestamptz, "position" bigint, generation integer, head_message_id bigint,
    failures integer, message_id bigint, partition_key text, payload json, headers json, created_at timestamptz, state text
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    claimed  pgtopic.lanes[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);

    -- The CTE is a fence: joined directly, the update may touch more lanes than the LIMIT lets through. A lane that was
    -- changed just before it was locked is left to the next look: its new place is not in this snapshot. So a holder that
    -- this snapshot does not know was removed, and has not just been registered.
    WITH due AS MATERIALIZED (
        SELECT l.place
          FROM unnest(claim_lanes.webhook_ids, claim_lanes.slots, claim_lanes.due_after)
               AS want (webhook_id, slots, due_after)
          JOIN pgtopic.webhooks w ON w.id = want.webhook_id
           AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL
         CROSS JOIN LATERAL (
            SELECT l.ctid AS place
              FROM pgtopic.lanes l
             WHERE l.webhook_id + 0 = want.webhook_id
               AND l.due_at >= coalesce(want.due_after, statement_timestamp() - interval '5 s')
               AND l.due_at <= statement_timestamp()
               AND (l.claimed_by IS NULL
                    OR claim_lanes.sweep
                       AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
             ORDER BY l.due_at
             LIMIT want.slots
               FOR UPDATE SKIP LOCKED
         ) l
    ), taken AS (
        UPDATE pgtopic.lanes l
           SET claimed_by = claim_lanes.worker, token = claim_lanes.new_token
         WHERE l.ctid = ANY (ARRAY(SELECT due.place FROM due))
        RETURNING l
    )
    SELECT array_agg(t.l) INTO claimed FROM taken t;
    IF claimed IS NULL THEN
        RETURN;
    END IF;

    -- A new statement, and so a new snapshot: it sees whatever lowered the positions that the update returned.
    RETURN QUERY SELECT r.* FROM pgtopic.read_claimed(claimed, messages_per_lane, payload_budget) r;
END
$$;
-- ----------------------------------------------------------------------
-- claim_lanes_singly: claim_lanes, lane by lane and without reading: what to
-- do where that fails, perhaps because of one lane.
--
-- A lane that cannot be claimed stays as it is, and is in nobody's way: up to
-- 100 of them are passed over for each webhook.
--
-- Parameters: as claim_lanes.
-- Returns:    as read_claimed, of lanes of which nothing was read.
-- Raises:     as require_registered.
-- Locks:      as claim_lanes; also lanes that are passed over.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.claim_lanes_singly(
    worker      uuid,
    new_token   bigint,
    webhook_ids bigint[],
    slots       integer[],
    due_after   timestamptz[],
    sweep       boolean
) RETURNS TABLE (
    webhook_id bigint, lane bigint, due_at timestamptz, "position" bigint, generation integer, head_message_id bigint,
    failures integer, message_id bigint, partition_key text, payload json, headers json, created_at timestamptz, state text
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    places   tid[];
    before   integer;
    one      pgtopic.lanes;
    claimed  pgtopic.lanes[] := '{}';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);

    FOR want IN 1 .. cardinality(claim_lanes_singly.webhook_ids) LOOP
        before := cardinality(claimed);
        places := ARRAY(
            SELECT l.ctid
              FROM pgtopic.lanes l
              JOIN pgtopic.webhooks w ON w.id = claim_lanes_singly.webhook_ids[want]
               AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL
             WHERE l.webhook_id + 0 = claim_lanes_singly.webhook_ids[want]
               AND l.due_at >= coalesce(claim_lanes_singly.due_after[want], statement_timestamp() - interval '5 s')
               AND l.due_at <= statement_timestamp()
               AND (l.claimed_by IS NULL
                    OR claim_lanes_singly.sweep
                       AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
             ORDER BY l.due_at
             LIMIT claim_lanes_singly.slots[want] + 100);
        FOR at IN 1 .. cardinality(places) LOOP
            EXIT WHEN cardinality(claimed) >= before + claim_lanes_singly.slots[want];
            BEGIN
                -- A row that changes while it is being locked has another place then: the update does not find it. Its old place
                -- may be another lane's by now, even one that waits or is halted, so all is asked again.
                PERFORM FROM pgtopic.lanes l WHERE l.ctid = places[at] AND l.webhook_id = claim_lanes_singly.webhook_ids[want]
                    AND l.due_at <= statement_timestamp()
                    AND (l.claimed_by IS NULL
                         OR claim_lanes_singly.sweep
                            AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
                    FOR UPDATE SKIP LOCKED;
                CONTINUE WHEN NOT FOUND;
                UPDATE pgtopic.lanes l
                   SET claimed_by = claim_lanes_singly.worker, token = claim_lanes_singly.new_token
                 WHERE l.ctid = places[at]
                RETURNING l.* INTO one;
                CONTINUE WHEN NOT FOUND;
                claimed := claimed || one;
            EXCEPTION WHEN OTHERS THEN
                -- This lane alone stays as it is.
                NULL;
            END;
        END LOOP;
    END LOOP;
    RETURN QUERY SELECT r.* FROM pgtopic.read_claimed(claimed, 0, 0) r;
END
$$;
-- ----------------------------------------------------------------------
-- claim_messages: take the lanes of messages that workers were notified of,
-- and read them; read the messages of lanes that the worker holds already.
--
-- A notification is a hint: an id that is not there, or whose lanes others
-- hold, wait or are halted, costs a look and gives nothing.
--
-- Parameters:
--   worker, new_token    as claim_lanes
--   message_ids          the messages
--   full_webhooks        webhooks without room for another lane
--   lanes_at_most        how many lanes to take
--   messages_per_lane, payload_budget   as read_claimed
--
-- Returns: as read_claimed, for lanes that were claimed. For each message of a
--          lane that the worker held before: its token, state 'held'
--          ('deferred' beyond the budget, payload left out), and in position
--          the last message before it that the lane owes, or the lane's
--          position where there is none.
-- Raises:  as require_registered.
-- Locks:   as require_registered; the lanes FOR UPDATE SKIP LOCKED.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.claim_messages(
    worker            uuid,
    new_token         bigint,
    message_ids       bigint[],
    full_webhooks     bigint[],
    lanes_at_most     integer,
    messages_per_lane integer,
    payload_budget    bigint
) RETURNS TABLE (
    webhook_id bigint, lane bigint, due_at timestamptz, token bigint, "position" bigint, generation integer,
    head_message_id bigint, failures integer, message_id bigint, partition_key text, payload json, headers json, created_at timestamptz, state text
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    claimed  pgtopic.lanes[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);

    -- As in claim_lanes.
    WITH due AS MATERIALIZED (
        SELECT l.place
          FROM unnest(claim_messages.message_ids) AS told (id)
         CROSS JOIN LATERAL (SELECT m.topic_id, m.lane FROM pgtopic.messages m WHERE m.id = told.id LIMIT 1) m
         CROSS JOIN LATERAL (
            SELECT w.id
              FROM pgtopic.webhooks w
             WHERE w.topic_id = m.topic_id AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL
               AND w.id <> ALL (claim_messages.full_webhooks)
            OFFSET 0
         ) w
         CROSS JOIN LATERAL (
            SELECT l.ctid AS place
              FROM pgtopic.lanes l
             WHERE l.webhook_id = w.id AND l.lane = m.lane
               AND l.due_at <= statement_timestamp() AND l.claimed_by IS NULL
             LIMIT 1
               FOR UPDATE SKIP LOCKED
         ) l
         LIMIT claim_messages.lanes_at_most
    ), taken AS (
        UPDATE pgtopic.lanes l
           SET claimed_by = claim_messages.worker, token = claim_messages.new_token
         WHERE l.ctid = ANY (ARRAY(SELECT due.place FROM due))
        RETURNING l
    )
    SELECT array_agg(t.l) INTO claimed FROM taken t;
    IF claimed IS NOT NULL THEN
        RETURN QUERY
        SELECT r.webhook_id, r.lane, r.due_at, claim_messages.new_token, r.position, r.generation, r.head_message_id, r.failures,
               r.message_id, r.partition_key, r.payload, r.headers, r.created_at, r.state
          FROM pgtopic.read_claimed(claimed, messages_per_lane, payload_budget) r;
    END IF;
    RETURN QUERY
    SELECT l.webhook_id, l.lane, l.due_at, l.token,
           coalesce((SELECT max(d.message_id) FROM pgtopic.deliveries d
                      WHERE d.webhook_id = l.webhook_id AND d.lane = l.lane
                        AND d.message_id > l.position AND d.message_id < m.id), l.position),
           l.generation, NULL::bigint, 0, m.id, m.partition_key,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.payload END,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.headers END,
           m.created_at,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN 'held' ELSE 'deferred' END
      FROM unnest(claim_messages.message_ids) AS told (id)
     CROSS JOIN LATERAL (SELECT m.* FROM pgtopic.messages m WHERE m.id = told.id LIMIT 1) m
     CROSS JOIN LATERAL (SELECT w.id FROM pgtopic.webhooks w WHERE w.topic_id = m.topic_id OFFSET 0) w
     CROSS JOIN LATERAL (
        SELECT x.*
          FROM pgtopic.lanes x
         WHERE x.webhook_id = w.id AND x.lane = m.lane
           AND x.claimed_by = claim_messages.worker AND x.token <> claim_messages.new_token
         LIMIT 1) l
     CROSS JOIN LATERAL (
        SELECT
          FROM pgtopic.deliveries d
         WHERE d.webhook_id = w.id AND d.lane = m.lane AND d.message_id = m.id
         LIMIT 1) owed
    WINDOW read AS (ROWS UNBOUNDED PRECEDING);
END
$$;
-- ----------------------------------------------------------------------
-- dead_letters_flush: AFTER INSERT on dead_letters, for each statement.
--
-- Makes the transaction commit as the server is configured to, whatever settle
-- has set before.
--
-- Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.dead_letters_flush() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    SET LOCAL synchronous_commit TO DEFAULT;
    RETURN NULL;
END
$$;
-- ----------------------------------------------------------------------
-- list_news: what was published since the last look, of any topic.
--
-- Ids are given before they are committed: one that was passed over may show
-- up later, so the caller asks again for those it has not seen.
--
-- Parameters:
--   newest    the highest id that was seen; null for the newest message alone
--   missing   ids below it that were not seen
--   at_most   how many messages above it to return
--
-- Returns: ids and lanes; those above newest in rising order, before the
--          others.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.list_news(newest bigint, missing bigint[], at_most bigint)
RETURNS TABLE (message_id bigint, lane bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT m.id, m.lane
      FROM pgtopic.messages m
     WHERE m.id > coalesce(list_news.newest, (SELECT max(last.id) - 1 FROM pgtopic.messages last))
     ORDER BY m.id
     LIMIT list_news.at_most;
    RETURN QUERY
    SELECT m.id, m.lane
      FROM unnest(list_news.missing) AS passed_over (id)
     CROSS JOIN LATERAL (SELECT s.id, s.lane FROM pgtopic.messages s WHERE s.id = passed_over.id LIMIT 1) m;
END
$$;
-- ----------------------------------------------------------------------
-- read_claimed: the next messages of lanes that were just claimed.
--
-- Has no settings of its own, so that it becomes part of the statement that
-- calls it.
--
-- Parameters:
--   claimed            rows of lanes, as the claim's update has returned them
--   messages_per_lane  messages to read of each lane at most
--   payload_budget     bytes of payload and headers to read in all
--
-- Returns: for each lane its next messages in any order, at least one row
--          (message_id null where nothing was read). state: 'loaded';
--          'deferred' beyond the budget, payload left out; 'missing' where the
--          message itself is gone.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.read_claimed(claimed pgtopic.lanes[], messages_per_lane integer, payload_budget bigint)
RETURNS TABLE (
    webhook_id bigint, lane bigint, due_at timestamptz, "position" bigint, generation integer, head_message_id bigint,
    failures integer, message_id bigint, partition_key text, payload json, headers json, created_at timestamptz, state text
)
LANGUAGE sql STABLE
AS $$
SELECT c.webhook_id, c.lane, c.due_at, c.position, c.generation, c.head_message_id, c.failures, d.message_id, m.partition_key,
       CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.payload END,
       CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.headers END,
       m.created_at,
       CASE WHEN m.id IS NULL THEN 'missing'
            WHEN sum(m.size_bytes) OVER read <= payload_budget THEN 'loaded'
            ELSE 'deferred' END
  FROM unnest(claimed) c
  LEFT JOIN LATERAL (
    SELECT o.message_id
      FROM pgtopic.deliveries o
     WHERE o.webhook_id = c.webhook_id AND o.lane = c.lane AND o.message_id > c.position
     ORDER BY o.message_id
     LIMIT messages_per_lane
  ) d ON true
  LEFT JOIN pgtopic.messages m ON m.id >= d.message_id AND m.id <= d.message_id
WINDOW read AS (ROWS UNBOUNDED PRECEDING)
$$;
-- ----------------------------------------------------------------------
-- read_lanes: the next messages of lanes that the worker holds.
--
-- Parameters:
--   worker             the holder
--   webhook_ids, lanes, tokens   the lanes and the guard of each
--   positions          read what comes after; where a replay has raised the
--                      lane's generation since, its row's position counts
--                      instead
--   generations        the newest value the worker knows
--   messages_per_lane  messages to read of each lane at most
--   payload_budget     bytes of payload and headers to read in all; the first
--                      message is always read
--
-- Returns: as read_claimed; the position that was read from. Lanes that the
--          worker no longer holds are absent.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.read_lanes(
    worker            uuid,
    webhook_ids       bigint[],
    lanes             bigint[],
    tokens            bigint[],
    positions         bigint[],
    generations       integer[],
    messages_per_lane integer,
    payload_budget    bigint
) RETURNS TABLE (
    webhook_id bigint, lane bigint, "position" bigint, generation integer, message_id bigint, partition_key text, payload json,
    headers json, created_at timestamptz, state text
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT l.webhook_id, l.lane, l.position, l.generation, d.message_id, m.partition_key,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN m.payload END,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN m.headers END,
           m.created_at,
           CASE WHEN m.id IS NULL THEN 'missing'
                WHEN sum(m.size_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN 'loaded'
                ELSE 'deferred' END
      FROM (
        SELECT h.webhook_id, h.lane, h.generation,
               CASE WHEN h.generation = held.generation THEN held.position ELSE h.position END AS position
          FROM unnest(read_lanes.webhook_ids, read_lanes.lanes, read_lanes.tokens, read_lanes.positions, read_lanes.generations)
               AS held (webhook_id, lane, token, position, generation)
         CROSS JOIN LATERAL (
            SELECT h.webhook_id, h.lane, h.generation, h.position
              FROM pgtopic.lanes h
             WHERE h.webhook_id = held.webhook_id AND h.lane = held.lane
               AND h.claimed_by = read_lanes.worker AND h.token = held.token
             LIMIT 1) h
      ) l
      LEFT JOIN LATERAL (
        SELECT o.message_id
          FROM pgtopic.deliveries o
         WHERE o.webhook_id = l.webhook_id AND o.lane = l.lane AND o.message_id > l.position
         ORDER BY o.message_id
         LIMIT messages_per_lane
      ) d ON true
      LEFT JOIN pgtopic.messages m ON m.id >= d.message_id AND m.id <= d.message_id
    WINDOW read AS (ROWS UNBOUNDED PRECEDING);
END
$$;
-- ----------------------------------------------------------------------
-- remove_idle_lanes: delete the rows of held lanes that owe nothing.
--
-- A publisher that found a lane's row present holds the stripe until its
-- commit is visible. So the row may go only while we hold the stripe, and
-- after a look, in a new statement, that nothing is owed. Waiting for the
-- stripe could take as long as a publisher's transaction: it is only tried. A
-- row that somebody has locked is left, too.
--
-- Parameters: the lanes and guards in primary-key order; generations is the
--             newest that the worker knows.
--
-- Returns: 'removed' lanes, and 'rewound' ones, whose position a replay had
--          lowered (it is below everything owed now). All others stay: the
--          stripe or the row is taken, something is owed, or the lane is not
--          the worker's any more; read_lanes tells.
-- Locks:   advisory (stripe_class(), stripe), tried, until the end of this
--          short transaction; the rows, SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.remove_idle_lanes(
    worker      uuid,
    webhook_ids bigint[],
    lanes       bigint[],
    tokens      bigint[],
    generations integer[]
) RETURNS TABLE (webhook_id bigint, lane bigint, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET lock_timeout = '100ms'
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    class    integer := pgtopic.stripe_class();
    places   tid[];
    known    boolean[];
    removed  integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;

    -- An unordered lane has no stripe: its one message is all that it ever owes.
    SELECT array_agg(x.place), array_agg(x.generation = h.generation)
      INTO places, known
      FROM unnest(remove_idle_lanes.webhook_ids, remove_idle_lanes.lanes, remove_idle_lanes.tokens, remove_idle_lanes.generations)
           AS h (webhook_id, lane, token, generation)
     CROSS JOIN LATERAL (
        SELECT x.ctid AS place, x.stripe, x.generation
          FROM pgtopic.lanes x
         WHERE x.webhook_id = h.webhook_id AND x.lane = h.lane
           AND x.claimed_by = remove_idle_lanes.worker AND x.token = h.token
         LIMIT 1
           FOR UPDATE SKIP LOCKED) x
     WHERE coalesce(pg_try_advisory_xact_lock(class, x.stripe), true);
    IF places IS NULL THEN
        RETURN;
    END IF;

    -- New statements, which see whatever the stripes' last holders have committed. The rows are locked: nobody changes them.
    RETURN QUERY
    DELETE FROM pgtopic.lanes l
     WHERE l.ctid = ANY (ARRAY(
            SELECT h.place
              FROM unnest(places, known) AS h (place, known)
             CROSS JOIN LATERAL (
                SELECT true AS idle
                  FROM pgtopic.lanes x
                 WHERE x.ctid = h.place
                   -- Only a replay puts something at or below position, and it raises the generation: then look at all of the
                   -- lane. The row's own position, not the worker's: it moved in the transaction that deleted what it passed.
                   AND (SELECT true FROM pgtopic.deliveries d
                         WHERE d.webhook_id = x.webhook_id AND d.lane = x.lane
                           AND d.message_id > CASE WHEN h.known THEN x.position ELSE -1 END
                         LIMIT 1) IS NULL
                 LIMIT 1) x))
    RETURNING l.webhook_id, l.lane, 'removed';

    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed = cardinality(places) THEN
        RETURN;
    END IF;
    RETURN QUERY
    UPDATE pgtopic.lanes l
       SET position = least(l.position, (SELECT min(d.message_id) - 1 FROM pgtopic.deliveries d
                                          WHERE d.webhook_id = l.webhook_id AND d.lane = l.lane))
     WHERE l.ctid = ANY (ARRAY(SELECT h.place FROM unnest(places, known) AS h (place, known) WHERE NOT h.known))
    RETURNING l.webhook_id, l.lane, 'rewound';
END
$$;
-- ----------------------------------------------------------------------
-- repair_due_at: bring back what a step of the clock has left in the future.
--
-- due_at is written with the server's clock. Once that has been stepped back
-- by an hour (or a standby whose clock is behind was promoted), a lane that
-- was ready would wait for an hour. The rule: a lane is due at most
-- wait_seconds from now, and one that is ready at once. Where due_at lies
-- further ahead, it is written anew.
--
-- A look at some of the lanes that are due later, by webhook and due_at; the
-- caller looks on where it ended. In the index there is nothing else behind
-- the present, halted lanes aside, so without lanes that wait it is one probe
-- a webhook.
--
-- Parameters: after_webhook, after_due_at  where the last look ended; 0 and
--                                          1970 begin anew
--             lanes_at_most                how many to look at
-- Returns:    one row: how many were corrected, and where the look ended; null
--             where it came to the end.
-- Locks:      the lanes it corrects, SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.repair_due_at(after_webhook bigint, after_due_at timestamptz, lanes_at_most integer)
RETURNS TABLE (corrected bigint, webhook_id bigint, due_at timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    RETURN QUERY
    WITH ahead AS MATERIALIZED (
        SELECT l.at, l.webhook_id, l.due_at, l.wait_seconds
          FROM pgtopic.webhooks w
         CROSS JOIN LATERAL (
            SELECT l.ctid AS at, l.webhook_id, l.due_at, l.wait_seconds
              FROM pgtopic.lanes l
             WHERE l.webhook_id + 0 = w.id
               AND l.due_at > greatest(CASE WHEN w.id = after_webhook THEN after_due_at END,
                                       statement_timestamp() + interval '0.1 s')
               AND l.due_at < 'infinity'
               -- One that is held, too, if its holder is gone: a sweep finds it when it is due.
               AND (l.claimed_by IS NULL
                    OR NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
             ORDER BY l.due_at
             LIMIT lanes_at_most
         ) l
         WHERE w.id >= after_webhook
         ORDER BY w.id
         LIMIT lanes_at_most
    ), wrong AS MATERIALIZED (
        SELECT a.at FROM ahead a
         WHERE a.due_at > clock_timestamp() + make_interval(secs => coalesce(a.wait_seconds, 0) + 0.1)
    ), changed AS (
        -- By the rows' places: a join made for a small table would go through all lanes for each of many. A row that
        -- was written since is in another place, and left alone.
        UPDATE pgtopic.lanes l
           SET due_at = clock_timestamp() + make_interval(secs => coalesce(l.wait_seconds, 0))
         WHERE l.ctid = ANY (ARRAY(
            SELECT free.at
              FROM wrong
             CROSS JOIN LATERAL (
                SELECT l.ctid AS at FROM pgtopic.lanes l WHERE l.ctid = wrong.at FOR UPDATE SKIP LOCKED
             ) free))
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM changed), a.webhook_id, a.due_at
      FROM (SELECT) one
      LEFT JOIN LATERAL (
        SELECT a.webhook_id, a.due_at FROM ahead a OFFSET lanes_at_most - 1 LIMIT 1
      ) a ON true;
END
$$;
-- ----------------------------------------------------------------------
-- require_read_committed: refuse to run under an old snapshot.
--
-- Under REPEATABLE READ "a new statement" sees nothing new, and the checks of
-- the engine's functions would be void.
--
-- Raises: 25000.
-- Locks:  none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.require_read_committed() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'pgtopic workers need READ COMMITTED, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
END
$$;
-- ----------------------------------------------------------------------
-- require_registered: refuse a worker that may claim nothing.
--
-- Raises: 55000 the worker is not registered, or gone (another one took it for
--         dead): it must start over.
-- Locks:  the worker's row FOR KEY SHARE, so that it is not deleted while a
--         claim of that worker is under way.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.require_registered(worker uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    PERFORM FROM pgtopic.workers w WHERE w.id = worker AND NOT w.gone FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;
-- ----------------------------------------------------------------------
-- settle: write what became of requests, for many lanes at once.
--
-- The lanes are locked first, in primary-key order, those that somebody else
-- has locked left out. Every part is guarded by the lane's (claimed_by,
-- token): what belongs to a lane that was released or taken over meanwhile is
-- left alone. Any other wait ends after 100 ms and fails the call: the caller
-- tries smaller groups.
--
-- Parameters:
--   lane_*  every lane that is named below, in primary-key order. state:
--           'untouched' (only what was delivered), 'held' (only failures and
--           position), 'ready' (released), 'waiting' (released, due after
--           delay seconds), 'halted' (released, never due). head is the
--           message that failures, error and the wait belong to
--   done_*  deliveries that were accepted; their lane by its number above
--   dead_*  deliveries that move to the dead letters; the same
--
-- position moves only if no replay has raised the lane's generation. If one
-- has, the lane waits or halts only where head is still what it owes first.
-- due_at of a held lane stays as it is, so that no index entry is written.
--
-- Returns: the lanes that nothing was written for, by their numbers: 'locked'
--          (the worker's, the row is held by somebody), or 'lost' (not the
--          worker's any more). All others were written.
-- Raises:  55P03 a wait took too long; nothing was written.
-- Locks:   the rows it writes. No flush: a lost settle means a redelivery.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.settle(
    worker             uuid,
    lane_webhooks      bigint[],
    lane_lanes         bigint[],
    lane_tokens        bigint[],
    lane_states        text[],
    lane_generations   integer[],
    lane_positions     bigint[],
    lane_delays        double precision[],
    lane_heads         bigint[],
    lane_failures      integer[],
    lane_errors        text[],
    done_lanes         integer[],
    done_messages      bigint[],
    dead_lanes         integer[],
    dead_messages      bigint[],
    dead_reasons       text[],
    dead_attempts      integer[],
    dead_error_classes text[],
    dead_status_codes  smallint[],
    dead_errors        text[]
) RETURNS TABLE (number integer, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET lock_timeout = '100ms'
AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    mine     boolean[];
    changes  boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;

    SELECT array_agg(l.found IS NOT NULL ORDER BY h.n), bool_or(h.state <> 'untouched')
      INTO mine, changes
      FROM unnest(lane_webhooks, lane_lanes, lane_tokens, lane_states) WITH ORDINALITY AS h (webhook_id, lane, token, state, n)
      LEFT JOIN LATERAL (
        SELECT true AS found
          FROM pgtopic.lanes l
         WHERE l.webhook_id = h.webhook_id AND l.lane = h.lane AND l.claimed_by = settle.worker AND l.token = h.token
         LIMIT 1
           FOR UPDATE SKIP LOCKED) l ON true;

    IF cardinality(done_messages) > 0 THEN
        -- By their places: a delivery is never changed, only deleted.
        DELETE FROM pgtopic.deliveries d
         WHERE d.ctid = ANY (ARRAY(
            SELECT x.place
              FROM unnest(done_lanes, done_messages) AS done (n, message_id)
             CROSS JOIN LATERAL (
                SELECT x.ctid AS place
                  FROM pgtopic.deliveries x
                 WHERE x.webhook_id = lane_webhooks[done.n] AND x.lane = lane_lanes[done.n] AND x.message_id = done.message_id
                 LIMIT 1) x
             WHERE mine[done.n]));
    END IF;

    IF cardinality(dead_messages) > 0 THEN
        WITH died AS (
            DELETE FROM pgtopic.deliveries d
             USING unnest(dead_lanes, dead_messages, dead_reasons, dead_attempts, dead_error_classes, dead_status_codes, dead_errors)
                   AS dead (n, message_id, reason, attempts, error_class, status_code, last_error)
             WHERE d.webhook_id = lane_webhooks[dead.n] AND d.lane = lane_lanes[dead.n] AND d.message_id = dead.message_id
               AND mine[dead.n]
            RETURNING d.webhook_id, d.lane, dead.*
        )
        INSERT INTO pgtopic.dead_letters AS x (webhook_id, lane, message_id, topic_id, partition_key, reason, attempts, error_class,
                                               status_code, last_error)
        SELECT died.webhook_id, died.lane, died.message_id, w.topic_id, l.partition_key, died.reason, died.attempts,
               died.error_class, died.status_code, died.last_error
          FROM died
          JOIN pgtopic.webhooks w ON w.id = died.webhook_id
          JOIN pgtopic.lanes l ON l.webhook_id = died.webhook_id AND l.lane = died.lane
        ON CONFLICT ON CONSTRAINT dead_letters_delivery_key DO UPDATE
           SET reason = excluded.reason, attempts = excluded.attempts, error_class = excluded.error_class,
               status_code = excluded.status_code, last_error = excluded.last_error, created_at = now();
    END IF;

    IF changes THEN
        UPDATE pgtopic.lanes l
           SET position = CASE WHEN l.generation = new.generation THEN greatest(l.position, new.position) ELSE l.position END,
               due_at = CASE new.state WHEN 'held' THEN l.due_at
                                       WHEN 'halted' THEN 'infinity'
                                       WHEN 'waiting' THEN clock_timestamp() + make_interval(secs => new.delay)
                                       ELSE clock_timestamp() END,
               wait_seconds = CASE new.state WHEN 'waiting' THEN new.delay END,
               claimed_by = CASE new.state WHEN 'held' THEN l.claimed_by END,
               token = CASE new.state WHEN 'held' THEN l.token END,
               head_message_id = new.head,
               failures = new.failures,
               last_error = CASE WHEN new.failures > 0 THEN coalesce(new.last_error, l.last_error) END,
               halted = new.state = 'halted'
          FROM (SELECT h.webhook_id, h.lane, h.generation, h.position, h.delay, h.head, h.failures, h.last_error,
                       CASE WHEN h.state IN ('waiting', 'halted') AND x.generation <> h.generation
                                 AND h.head IS DISTINCT FROM (SELECT d.message_id FROM pgtopic.deliveries d
                                                               WHERE d.webhook_id = h.webhook_id AND d.lane = h.lane
                                                                 AND d.message_id > x.position
                                                               ORDER BY d.message_id LIMIT 1)
                            THEN 'ready' ELSE h.state END AS state
                  FROM unnest(lane_webhooks, lane_lanes, lane_states, lane_generations, lane_positions, lane_delays, lane_heads,
                              lane_failures, lane_errors)
                       WITH ORDINALITY AS h (webhook_id, lane, state, generation, position, delay, head, failures, last_error, n)
                 CROSS JOIN LATERAL (SELECT x.generation, x.position FROM pgtopic.lanes x
                                      WHERE x.webhook_id = h.webhook_id AND x.lane = h.lane LIMIT 1) x
                 WHERE h.state <> 'untouched' AND mine[h.n]
                OFFSET 0) new
         WHERE l.webhook_id = new.webhook_id AND l.lane = new.lane;
    END IF;

    IF false = ANY (mine) THEN
        RETURN QUERY
        SELECT h.n::integer,
               CASE WHEN EXISTS (SELECT FROM pgtopic.lanes l
                                  WHERE l.webhook_id = h.webhook_id AND l.lane = h.lane
                                    AND l.claimed_by = settle.worker AND l.token = h.token)
                    THEN 'locked' ELSE 'lost' END
          FROM unnest(lane_webhooks, lane_lanes, lane_tokens) WITH ORDINALITY AS h (webhook_id, lane, token, n)
         WHERE NOT mine[h.n];
    END IF;
END
$$;
-- ----------------------------------------------------------------------
-- filter_matches: whether a webhook's filter lets a payload through.
--
-- json may hold what jsonb refuses (\u0000, 1e200000): a filter that cannot be
-- evaluated lets the message through and is counted; it never fails the
-- publisher.
--
-- Returns: true where the path's predicate is true, or cannot be evaluated;
--          false where it is false or unknown.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.filter_matches(filter jsonpath, payload json) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    RETURN coalesce(payload::jsonb @@ filter, false);
EXCEPTION WHEN data_exception OR program_limit_exceeded OR feature_not_supported THEN
    PERFORM nextval('pgtopic.filter_errors');
    RETURN true;
END
$$;
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
CREATE OR REPLACE FUNCTION pgtopic.list_webhooks_of_topics(topic_ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    PERFORM FROM pgtopic.topics t WHERE t.id = ANY (topic_ids) ORDER BY t.id FOR NO KEY UPDATE;
    UPDATE pgtopic.topics t
       SET webhook_ids = (SELECT CASE WHEN count(w.filter) = 0 THEN coalesce(array_agg(w.id ORDER BY w.id), '{}') END
                            FROM pgtopic.webhooks w
                           WHERE w.topic_id = t.id)
     WHERE t.id = ANY (topic_ids);
END
$$;
-- ----------------------------------------------------------------------
-- lock_idempotency_key: whether a message with this key will be there, or be
-- refused or left out since there is one already.
--
-- Messages are fanned out before they are inserted, and ON CONFLICT must not
-- leave one out that is owed. So whoever uses a key inserts and deletes a row
-- in a table of keys: another one waits there until that transaction has
-- ended, and then sees its message. A message that is being deleted is waited
-- for, and one that is found cannot be deleted before we are done. (Locks by
-- number would be too many for the server in a bulk load.)
--
-- Returns: true where no message has the key.
-- Locks:   the key, and the message that was found FOR SHARE, to the end of
--          the transaction.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.lock_idempotency_key(topic_id bigint, idempotency_key text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_variable
DECLARE
    place tid;
BEGIN
    INSERT INTO pgtopic.used_idempotency_keys AS u VALUES (topic_id, idempotency_key) RETURNING u.ctid INTO place;
    DELETE FROM pgtopic.used_idempotency_keys u WHERE u.ctid = place;
    PERFORM FROM pgtopic.messages m WHERE m.topic_id = topic_id AND m.idempotency_key = idempotency_key FOR SHARE;
    RETURN NOT FOUND;
END
$$;
-- ----------------------------------------------------------------------
-- matching_webhooks: whom a message is owed to. No search path is set, as in
-- messages_publish.
--
-- Returns: the topic's webhooks whose filter lets the payload through, in the
--          order of their ids.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.matching_webhooks(topic_id bigint, payload pg_catalog.json) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RETURN ARRAY(SELECT w.id
                   FROM pgtopic.webhooks w
                  WHERE w.topic_id OPERATOR(pg_catalog.=) matching_webhooks.topic_id
                    AND (w.filter IS NULL OR pgtopic.filter_matches(w.filter, matching_webhooks.payload))
                  ORDER BY w.id);
END
$$;
-- ----------------------------------------------------------------------
-- may_notify: whether transactions of this installation may NOTIFY.
--
-- PostgreSQL refuses PREPARE TRANSACTION after NOTIFY, so two-phase commits
-- that publish need a server where nobody does.
--
-- Returns: what installation.notify says; auto: whether no transaction can be
--          prepared here.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.may_notify() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT CASE i.notify WHEN 'on' THEN true
                     WHEN 'off' THEN false
                     ELSE current_setting('max_prepared_transactions') = '0' END
  FROM pgtopic.installation i
$$;
-- ----------------------------------------------------------------------
-- messages_fan_out: what messages_publish does with a message that is not
-- plain: one with an idempotency key, or of a publisher with an old snapshot.
--
-- Under REPEATABLE READ and SERIALIZABLE, ON CONFLICT DO NOTHING raises 40001
-- when the lane's row is newer than the snapshot. The row is there then and
-- cannot go away (its stripe is ours), so that error is good news. A lane that
-- the snapshot shows cannot be left out beforehand: it may have been removed
-- since.
--
-- Parameters:
--   message      with its id and lane
--   stripe       that its transaction holds; null on unordered topics
--   webhook_ids  its topic's webhooks, or null where one has a filter
--
-- Returns: whether it is owed to anybody.
-- Locks:   the new rows; as lock_idempotency_key.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.messages_fan_out(message pgtopic.messages, stripe integer, webhook_ids bigint[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    committed boolean := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
    webhook   bigint;
BEGIN
    IF message.idempotency_key IS NOT NULL
        AND NOT pgtopic.lock_idempotency_key(message.topic_id, message.idempotency_key)
    THEN
        RETURN false;
    END IF;
    webhook_ids := coalesce(webhook_ids, pgtopic.matching_webhooks(message.topic_id, message.payload));
    FOREACH webhook IN ARRAY webhook_ids LOOP
        INSERT INTO pgtopic.deliveries (webhook_id, lane, message_id) VALUES (webhook, message.lane, message.id);
        IF committed THEN
            INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
            VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1)
            ON CONFLICT DO NOTHING;
            CONTINUE;
        END IF;
        BEGIN
            INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
            VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1)
            ON CONFLICT DO NOTHING;
        EXCEPTION WHEN serialization_failure THEN
            -- A plain insert tells that error from one that SERIALIZABLE raises for reasons of its own.
            BEGIN
                INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
                VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1);
            EXCEPTION WHEN unique_violation THEN
                NULL;
            END;
        END;
    END LOOP;
    RETURN webhook_ids <> '{}';
END
$$;
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

    -- A function that is called with a null returns null, and takes no lock: so on unordered topics. Only then the id.
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
            -- No look for the lane first: its plan, kept from when lanes was empty, would read all of the table.
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
-- ----------------------------------------------------------------------
-- messages_validate: what messages_publish does with a message that is not
-- plain.
--
-- Parameters:
--   message         as it was published, with size_bytes of its payload alone
--   accepted_bytes  of its topic, as the caller has read it: null where there
--                   is no such topic, -1 where it is paused
--
-- Returns: the message, with defaults for the key and the time where they were
--          null, and its headers counted in size_bytes.
-- Raises:  23503 unknown topic, 55000 paused topic, 54000 payload too large,
--          23514 partition_key, headers, idempotency_key or created_at out of
--          bounds.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.messages_validate(message pgtopic.messages, accepted_bytes integer) RETURNS pgtopic.messages
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    topic_name   text;
    problem      text;
    field        text;
    header_bytes integer := octet_length(message.headers::text);
BEGIN
    message.partition_key := coalesce(message.partition_key, 'default');
    message.created_at := coalesce(message.created_at, now());
    IF accepted_bytes IS NULL THEN
        RAISE EXCEPTION 'topic % does not exist', message.topic_id
            USING ERRCODE = 'foreign_key_violation', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = 'topic_id',
                  HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
    ELSIF message.size_bytes > accepted_bytes THEN
        SELECT t.name INTO topic_name FROM pgtopic.topics t WHERE t.id = message.topic_id;
        IF accepted_bytes < 0 THEN
            RAISE EXCEPTION 'topic "%" is paused and takes no messages', topic_name
                USING ERRCODE = 'object_not_in_prerequisite_state', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = 'topic_id';
        END IF;
        RAISE EXCEPTION 'payload of % bytes is larger than the % bytes that topic "%" takes',
            message.size_bytes, accepted_bytes, topic_name
            USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = 'payload';
    ELSIF octet_length(message.partition_key) NOT BETWEEN 1 AND 1024 THEN
        field := 'partition_key';
        problem := format('must have 1 to 1024 bytes, not %s', octet_length(message.partition_key));
    ELSIF json_typeof(message.headers) <> 'object' THEN
        field := 'headers';
        problem := format('must be a JSON object, not %s', json_typeof(message.headers));
    ELSIF header_bytes > 8192 THEN
        field := 'headers';
        problem := format('must have at most 8192 bytes of JSON text, not %s', header_bytes);
    ELSIF message.headers IS NOT NULL AND (SELECT count(*) FROM json_object_keys(message.headers)) > 64 THEN
        field := 'headers';
        problem := format('must hold at most 64 headers, not %s', (SELECT count(*) FROM json_object_keys(message.headers)));
    ELSIF octet_length(message.idempotency_key) NOT BETWEEN 1 AND 255 THEN
        field := 'idempotency_key';
        problem := format('must have 1 to 255 bytes, not %s', octet_length(message.idempotency_key));
    ELSIF message.created_at < '0001-01-01 00:00+00' OR message.created_at >= '9999-12-30 00:00+00' THEN
        -- RFC 3339 cannot write it, in one time zone or another, and it is sent to receivers.
        field := 'created_at';
        problem := format('must be from 0001-01-01 to 9999-12-29 (UTC), not %s', message.created_at);
    END IF;
    IF field IS NOT NULL THEN
        RAISE EXCEPTION '% %', field, problem
            USING ERRCODE = 'check_violation', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = field;
    END IF;
    message.size_bytes := message.size_bytes + coalesce(header_bytes, 0);
    RETURN message;
END
$$;
-- ----------------------------------------------------------------------
-- notify_workers: NOTIFY that a message was published.
--
-- Tells the message's id, and its stripe where it has one: pg_locks shows
-- that to everybody anyway. Workers look at the tables for the rest. (A
-- payload in a notification can be read by every role that may connect.)
--
-- Each of a transaction's first ten messages is told. After these one
-- notification says that there are more. A full notification queue would fail
-- the publisher at COMMIT, where nothing can catch it: then none is sent, and
-- workers find the message by polling.
--
-- No search path is set, as in messages_publish.
--
-- Locks: the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.notify_workers(message_id bigint, stripe integer) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    now_us       bigint := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000;
    notify_until bigint := pg_catalog.pg_sequence_last_value('pgtopic.notify_until'::pg_catalog.regclass);
    -- One mark for each notification of this transaction, by installation.
    variable     pg_catalog.text := pg_catalog.concat('pgtopic_notifications.schema_', '"pgtopic"'::pg_catalog.regnamespace::pg_catalog.oid);
    marks        pg_catalog.text := coalesce(pg_catalog.current_setting(variable, true), '');
    sent         integer := pg_catalog.length(marks);
BEGIN
    -- An instant more than 10 s ahead was written before a step of the clock, and counts as unset.
    IF sent OPERATOR(pg_catalog.>) 10
        OR notify_until OPERATOR(pg_catalog.<=) now_us
        OR notify_until OPERATOR(pg_catalog.>) (now_us OPERATOR(pg_catalog.+) 10000000)
        OR pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.>=) 0.5
    THEN
        RETURN;
    END IF;
    PERFORM pg_catalog.pg_notify('pgtopic', CASE WHEN sent OPERATOR(pg_catalog.<) 10
                                                 THEN pg_catalog.concat_ws(' ', message_id, stripe)
                                                 ELSE 'more' END);
    PERFORM pg_catalog.set_config(variable, marks OPERATOR(pg_catalog.||) '.', true);
END
$$;
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
-- Returns: the message's id; with an idempotency key that was used before in
--          this topic, the id it was first used for.
-- Raises:  23503 unknown topic, and what INSERT INTO messages raises.
-- Locks:   as INSERT INTO messages.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.publish(
    topic           text,
    partition_key   text,
    payload         json,
    headers         json DEFAULT NULL,
    idempotency_key text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    topic_key  bigint;
    message_id bigint;
BEGIN
    SELECT t.id INTO topic_key FROM pgtopic.topics t WHERE t.name = publish.topic;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'topic "%" does not exist', publish.topic
            USING ERRCODE = 'foreign_key_violation', HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
    END IF;
    LOOP
        IF publish.idempotency_key IS NOT NULL THEN
            SELECT m.id INTO message_id FROM pgtopic.messages m
             WHERE m.topic_id = topic_key AND m.idempotency_key = publish.idempotency_key;
            IF FOUND THEN
                RETURN message_id;
            END IF;
        END IF;
        INSERT INTO pgtopic.messages (topic_id, partition_key, payload, headers, idempotency_key)
        VALUES (topic_key, publish.partition_key, publish.payload, publish.headers, publish.idempotency_key)
        ON CONFLICT (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING id INTO message_id;
        -- Nothing returned: another transaction used the key and has committed since; look again.
        EXIT WHEN message_id IS NOT NULL;
    END LOOP;
    RETURN message_id;
END
$$;
-- ----------------------------------------------------------------------
-- refuse_change: BEFORE UPDATE of a column that never changes; its argument is
-- the column's name.
--
-- A message's lane follows from its topic's ordering: were it to change, one
-- partition would have two lanes.
--
-- Raises: 55000.
-- Locks:  none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.refuse_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '%.% cannot be changed', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
-- ----------------------------------------------------------------------
-- stripe: the advisory-lock key that publishers of a partition hold.
--
-- A transaction that publishes to several partitions cannot deadlock with
-- another one if both insert ORDER BY stripe(topic_id, partition_key).
--
-- Returns: the topic's id modulo 2^21 above 8 bits of the partition's hash: 0
--          to 2^29 - 1. A topic has 256 stripes. (Masked: the modulus of a
--          negative hash would be negative.)
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.stripe(topic_id bigint, partition_key text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT ((topic_id & 2097151) << 8)::integer | (hashtextextended(partition_key, topic_id) & 255)::integer
$$;
-- ----------------------------------------------------------------------
-- stripe_class: the advisory-lock class of this installation.
--
-- Returns: the schema's oid, so that two installations in one database do not
--          share locks.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.stripe_class() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
SELECT '"pgtopic"'::regnamespace::oid::integer
$$;
-- ----------------------------------------------------------------------
-- touch_changed_at: BEFORE UPDATE on topics and webhooks, for each row: says
-- when it was changed.
--
-- Locks: none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.touch_changed_at() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    NEW.changed_at := clock_timestamp();
    RETURN NEW;
END
$$;
-- ----------------------------------------------------------------------
-- webhooks_came_or_went: AFTER INSERT OR DELETE OR TRUNCATE on webhooks, for
-- each statement, and AFTER UPDATE OF filter, for each row that had one or has
-- one now: keeps webhook_ids of their topics.
--
-- Locks: as list_webhooks_of_topics.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhooks_came_or_went() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY(SELECT t.id FROM pgtopic.topics t));
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY[NEW.topic_id]);
    ELSE
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY(SELECT DISTINCT c.topic_id FROM changed c));
    END IF;
    RETURN NULL;
END
$$;
-- ----------------------------------------------------------------------
-- webhooks_changed: AFTER INSERT OR UPDATE OR DELETE on webhooks and UPDATE OR
-- DELETE on topics, for each statement: tells the workers to read the webhooks
-- anew. Where nobody may NOTIFY, they find it by changed_at.
--
-- Locks: with NOTIFY, the commit takes the cluster's notification lock.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.webhooks_changed() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    IF pgtopic.may_notify() AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('pgtopic', 'webhooks');
    END IF;
    RETURN NULL;
END
$$;
-- ----------------------------------------------------------------------
-- mark_worker_gone: from now on a worker claims nothing, and its lanes are
-- anybody's.
--
-- The caller has made sure that the worker sends nothing any more. A claim of
-- it that is under way is not waited for: the lanes that it commits later are
-- found by the sweeps of other workers.
--
-- Returns: true where this call has marked it; false where it was marked
--          already, is not registered, or its row is locked.
-- Locks:   the worker's row FOR NO KEY UPDATE, SKIP LOCKED: a claim's FOR KEY
--          SHARE is not in the way.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.mark_worker_gone(worker uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    UPDATE pgtopic.workers w
       SET gone = true
     WHERE w.ctid = ANY (ARRAY(
        SELECT x.ctid FROM pgtopic.workers x WHERE x.id = worker AND NOT x.gone FOR NO KEY UPDATE SKIP LOCKED));
    RETURN FOUND;
END
$$;
-- ----------------------------------------------------------------------
-- release_lanes: one step of making the lanes of a worker that is gone ready.
--
-- Steps go through all lanes in primary-key order, since no index knows who
-- holds a lane: an entry for that would be written at every claim. A lane that
-- somebody has locked is left; sweeps take it when it is free.
--
-- Parameters:
--   worker                     the worker, marked gone
--   after_webhook, after_lane  where the last step ended; the least bigint
--                              twice begins
--   lanes_at_most              how many lanes to look at
--
-- Returns: one row: how many lanes were released, how many were left, and
--          where the step ended; null where that was the end.
-- Locks:   the lanes FOR UPDATE SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.release_lanes(worker uuid, after_webhook bigint, after_lane bigint, lanes_at_most integer)
RETURNS TABLE (released bigint, locked bigint, webhook_id bigint, lane bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    held     bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    SELECT s.held, s.webhook_id, s.lane INTO held, release_lanes.webhook_id, release_lanes.lane
      FROM (SELECT count(*) FILTER (WHERE l.claimed_by = release_lanes.worker) AS held,
                   CASE WHEN count(*) = lanes_at_most THEN (array_agg(l.webhook_id))[count(*)] END AS webhook_id,
                   CASE WHEN count(*) = lanes_at_most THEN (array_agg(l.lane))[count(*)] END AS lane
              FROM (SELECT l.webhook_id, l.lane, l.claimed_by
                      FROM pgtopic.lanes l
                     WHERE (l.webhook_id, l.lane) > (after_webhook, after_lane)
                     ORDER BY l.webhook_id, l.lane
                     LIMIT lanes_at_most) l) s;
    UPDATE pgtopic.lanes l
       SET claimed_by = NULL, token = NULL, due_at = clock_timestamp(), wait_seconds = NULL
     WHERE held > 0 AND l.ctid = ANY (ARRAY(
        SELECT free.place
          FROM (SELECT l.ctid AS place, l.claimed_by
                  FROM pgtopic.lanes l
                 WHERE (l.webhook_id, l.lane) > (after_webhook, after_lane)
                 ORDER BY l.webhook_id, l.lane
                 LIMIT lanes_at_most) l
         CROSS JOIN LATERAL (SELECT x.ctid AS place FROM pgtopic.lanes x
                              WHERE x.ctid = l.place AND x.claimed_by = release_lanes.worker
                                FOR UPDATE SKIP LOCKED) free
         WHERE l.claimed_by = release_lanes.worker));
    GET DIAGNOSTICS released = ROW_COUNT;
    locked := greatest(held - released, 0);
    RETURN NEXT;
END
$$;
-- ----------------------------------------------------------------------
-- remove_worker: delete the row of a worker that is gone.
--
-- Only where nobody has it locked: a claim of that worker may be under way in
-- one of its sessions, and what it takes must be released first.
--
-- Returns: whether the row was deleted, or was not there.
-- Locks:   the row FOR UPDATE SKIP LOCKED.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.remove_worker(worker uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    DELETE FROM pgtopic.workers w
     WHERE w.ctid = ANY (ARRAY(SELECT x.ctid FROM pgtopic.workers x WHERE x.id = worker AND x.gone FOR UPDATE SKIP LOCKED));
    RETURN FOUND OR NOT EXISTS (SELECT FROM pgtopic.workers w WHERE w.id = worker);
END
$$;
-- ----------------------------------------------------------------------
-- suppress_notifications: tell publishers that workers poll, so that they need
-- not NOTIFY.
--
-- Every transaction that has NOTIFYed commits under one cluster-wide lock, so
-- many of them slow publishers down. Workers ask for them again with their
-- heartbeats, when the time is over.
--
-- Parameters: microseconds  from now on
-- Locks:      none that lasts.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.suppress_notifications(microseconds bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
BEGIN
    PERFORM setval('pgtopic.notify_suppressed_until', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + microseconds);
    PERFORM setval('pgtopic.notify_until', 0);
END
$$;
-- ----------------------------------------------------------------------
-- worker_heartbeat: say that a worker lives and listens.
--
-- Parameters:
--   worker         the incarnation
--   in_flight_now  its requests in flight
--   lease_seconds  how long it may go without a heartbeat before it is taken
--                  for hung; null leaves its row alone this time
--
-- Returns: one row.
--   suppressed_us    for how many microseconds more publishers do not NOTIFY
--                    because workers poll (0: they do)
--   notifies         whether anybody may NOTIFY; where not, workers poll always
--   last_message_id  the last id that was given to a message; null before the
--                    first
--   changed_at       where nobody may NOTIFY: when a webhook or topic was
--                    changed last; else null
-- Raises:  55000 the worker is not registered, or gone: it must start over.
-- Locks:   its own row. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.worker_heartbeat(worker uuid, in_flight_now integer, lease_seconds double precision)
RETURNS TABLE (suppressed_us bigint, notifies boolean, last_message_id bigint, changed_at timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    now_us           bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    notify_until     bigint := pg_sequence_last_value('pgtopic.notify_until');
    suppressed_until bigint := pg_sequence_last_value('pgtopic.notify_suppressed_until');
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    IF lease_seconds IS NULL THEN
        PERFORM FROM pgtopic.workers w WHERE w.id = worker AND NOT w.gone;
    ELSE
        UPDATE pgtopic.workers w
           SET heartbeat_at = clock_timestamp(), in_flight = in_flight_now, lease = make_interval(secs => lease_seconds)
         WHERE w.id = worker AND NOT w.gone;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    notifies := pgtopic.may_notify();
    last_message_id := pg_sequence_last_value('pgtopic.message_ids');
    -- An instant more than 10 s ahead was written before a step of the clock, and counts as unset.
    suppressed_us := CASE WHEN suppressed_until > now_us AND suppressed_until < now_us + 10000000
                          THEN suppressed_until - now_us ELSE 0 END;
    IF NOT notifies THEN
        changed_at := greatest((SELECT max(w.changed_at) FROM pgtopic.webhooks w), (SELECT max(t.changed_at) FROM pgtopic.topics t));
        IF notify_until > 0 THEN
            PERFORM setval('pgtopic.notify_until', 0);
        END IF;
    ELSIF suppressed_us = 0 AND (notify_until < now_us + 2000000 OR notify_until > now_us + 10000000) THEN
        -- Written anew when half of it is used up, or when a step of the clock made it worthless.
        PERFORM setval('pgtopic.notify_until', now_us + 4000000);
    END IF;
    RETURN NEXT;
END
$$;
CREATE OR REPLACE TRIGGER zz_messages_publish BEFORE INSERT ON pgtopic.messages FOR EACH ROW EXECUTE FUNCTION pgtopic.messages_publish();
ALTER TABLE "pgtopic".messages ENABLE TRIGGER zz_messages_publish;
CREATE OR REPLACE TRIGGER flush AFTER INSERT ON pgtopic.dead_letters FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.dead_letters_flush();
ALTER TABLE "pgtopic".dead_letters ENABLE TRIGGER flush;
CREATE OR REPLACE TRIGGER topics_changed AFTER DELETE OR UPDATE ON pgtopic.topics FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_changed();
ALTER TABLE "pgtopic".topics ENABLE TRIGGER topics_changed;
CREATE OR REPLACE TRIGGER topics_changed_at BEFORE UPDATE ON pgtopic.topics FOR EACH ROW EXECUTE FUNCTION pgtopic.touch_changed_at();
ALTER TABLE "pgtopic".topics ENABLE TRIGGER topics_changed_at;
CREATE OR REPLACE TRIGGER topics_ordering_never_changes BEFORE UPDATE OF ordering ON pgtopic.topics FOR EACH ROW WHEN ((old.ordering <> new.ordering)) EXECUTE FUNCTION pgtopic.refuse_change('ordering');
ALTER TABLE "pgtopic".topics ENABLE TRIGGER topics_ordering_never_changes;
CREATE OR REPLACE TRIGGER webhooks_all_went AFTER TRUNCATE ON pgtopic.webhooks FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();
ALTER TABLE "pgtopic".webhooks ENABLE TRIGGER webhooks_all_went;
CREATE OR REPLACE TRIGGER webhooks_came AFTER INSERT ON pgtopic.webhooks REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();
ALTER TABLE "pgtopic".webhooks ENABLE TRIGGER webhooks_came;
CREATE OR REPLACE TRIGGER webhooks_changed AFTER INSERT OR DELETE OR UPDATE ON pgtopic.webhooks FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_changed();
ALTER TABLE "pgtopic".webhooks ENABLE TRIGGER webhooks_changed;
CREATE OR REPLACE TRIGGER webhooks_changed_at BEFORE UPDATE ON pgtopic.webhooks FOR EACH ROW EXECUTE FUNCTION pgtopic.touch_changed_at();
ALTER TABLE "pgtopic".webhooks ENABLE TRIGGER webhooks_changed_at;
CREATE OR REPLACE TRIGGER webhooks_filter_came_or_went AFTER UPDATE OF filter ON pgtopic.webhooks FOR EACH ROW WHEN (((old.filter IS NULL) <> (new.filter IS NULL))) EXECUTE FUNCTION pgtopic.webhooks_came_or_went();
ALTER TABLE "pgtopic".webhooks ENABLE TRIGGER webhooks_filter_came_or_went;
CREATE OR REPLACE TRIGGER webhooks_topic_never_changes BEFORE UPDATE OF topic_id ON pgtopic.webhooks FOR EACH ROW WHEN ((old.topic_id <> new.topic_id)) EXECUTE FUNCTION pgtopic.refuse_change('topic_id');
ALTER TABLE "pgtopic".webhooks ENABLE TRIGGER webhooks_topic_never_changes;
CREATE OR REPLACE TRIGGER webhooks_went AFTER DELETE ON pgtopic.webhooks REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();
ALTER TABLE "pgtopic".webhooks ENABLE TRIGGER webhooks_went;
-- Who may call what. Nobody but the owner may, apart from what publishers need. The right to use the schema is given by the
-- operator: without it none of this can be reached.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgtopic FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgtopic.publish(text, text, json, json, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION pgtopic.stripe(bigint, text) TO PUBLIC;
SELECT "pgtopic".make_attempt_partitions(7);
UPDATE "pgtopic".installed SET number = 1, functions_hash = 'ea7aac743719e7552c434eee222414cae0ce94c038fb7e4e74b19cffd084f442', applied_by = '0.1.0', applied_at = now();
COMMIT;
