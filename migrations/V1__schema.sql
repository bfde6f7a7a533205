-- The schema: tables, types, sequences, indexes. Functions, triggers and grants are in
-- sql/functions, sql/triggers.sql and sql/grants.sql. `pgtopic migrate` applies them after the
-- migrations.
--
-- Until the first release this file is edited in place. After it, files below migrations/ never
-- change.

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
COMMENT ON COLUMN pgtopic.installed.works_from IS 'The oldest binary that may still run on this schema, by the number of its newest migration.';
COMMENT ON COLUMN pgtopic.installed.functions_hash IS 'SHA-256 of the functions, triggers and grants that were applied, in hex.';
COMMENT ON COLUMN pgtopic.installed.applied_by IS 'The version of the pgtopic that applied them.';
INSERT INTO pgtopic.installed (number, works_from, functions_hash, applied_by) VALUES (0, 1, '', '');

CREATE TABLE pgtopic.installation (
    one               boolean PRIMARY KEY DEFAULT true,
    notify            text    NOT NULL DEFAULT 'auto',
    cell              integer,
    system_identifier bigint,
    database_oid      bigint,
    timeline          bigint,
    sending           boolean,
    reason            text,
    changed_by        text,
    dead_letters_told bigint  NOT NULL DEFAULT 0,
    CONSTRAINT installation_one_check CHECK (one),
    CONSTRAINT installation_notify_check CHECK (notify IN ('auto', 'on', 'off')),
    CONSTRAINT installation_cell_check CHECK (cell BETWEEN 0 AND 1023)
);
COMMENT ON TABLE pgtopic.installation IS 'Settings of this installation: one row.';
COMMENT ON COLUMN pgtopic.installation.notify IS 'Whether transactions that publish may NOTIFY: on, off, or auto (only if max_prepared_transactions is 0). Written by processes whose wake.notify is set.';
COMMENT ON COLUMN pgtopic.installation.cell IS 'Every message id modulo 1024 is this number, since it was set; null: ids are not unique over installations. Never changes.';
COMMENT ON COLUMN pgtopic.installation.system_identifier IS 'The server that this installation sends from, and in database_oid the database. Where they are others, this is a copy.';
COMMENT ON COLUMN pgtopic.installation.timeline IS 'The timeline of the server when a worker started last. It rises with each promotion.';
COMMENT ON COLUMN pgtopic.installation.dead_letters_told IS 'Up to this id, dead letters were told of as events.';
COMMENT ON COLUMN pgtopic.installation.sending IS 'Whether anything is sent; null: nobody has ever said so.';
COMMENT ON COLUMN pgtopic.installation.reason IS 'Why sending was switched, and in changed_by who did it.';
INSERT INTO pgtopic.installation DEFAULT VALUES;

CREATE TABLE pgtopic.topics (
    id                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name              text        NOT NULL CONSTRAINT topics_name_key UNIQUE,
    ordering          text        NOT NULL DEFAULT 'partition',
    retention         interval,
    paused            text,
    max_payload_bytes integer     NOT NULL DEFAULT 1048576,
    created_at        timestamptz NOT NULL DEFAULT now(),
    changed_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    overflowing_webhook bigint,
    accepted_bytes    integer     GENERATED ALWAYS AS (CASE WHEN paused = 'refuse' OR overflowing_webhook IS NOT NULL THEN -1 ELSE max_payload_bytes END) STORED,
    stripes           integer     GENERATED ALWAYS AS (CASE ordering WHEN 'partition' THEN ((id & 2097151) << 8)::integer END) STORED,
    webhook_ids       bigint[]    DEFAULT '{}',
    CONSTRAINT topics_name_check CHECK (name ~ '^[A-Za-z0-9._-]{1,255}$' AND name !~ '^[0-9]+$' AND name !~ '^[.]{1,2}$'),
    CONSTRAINT topics_ordering_check CHECK (ordering IN ('partition', 'none')),
    CONSTRAINT topics_paused_check CHECK (paused IN ('refuse', 'hold')),
    CONSTRAINT topics_retention_check CHECK (retention BETWEEN interval '0 seconds' AND interval '878400 hours'),
    CONSTRAINT topics_max_payload_bytes_check CHECK (max_payload_bytes > 0)
);
CREATE INDEX topics_changed_at ON pgtopic.topics (changed_at);
COMMENT ON TABLE pgtopic.topics IS 'Named streams of messages.';
COMMENT ON COLUMN pgtopic.topics.name IS '1 to 255 of [A-Za-z0-9._-]; not all digits, so that an id and a name never look alike; neither . nor .., which are no path.';
COMMENT ON COLUMN pgtopic.topics.ordering IS 'partition: messages with the same partition key stay in commit order; none: messages have no order. Never changes.';
COMMENT ON COLUMN pgtopic.topics.retention IS 'How long messages are kept, counted from created_at, if they are neither owed nor dead letters; 0: for ever; null: as the setting retention.messages_days of the workers says.';
COMMENT ON COLUMN pgtopic.topics.paused IS 'refuse: the topic refuses messages; hold: messages are accepted and fanned out, but nothing of the topic is claimed; null: neither.';
COMMENT ON COLUMN pgtopic.topics.max_payload_bytes IS 'The largest payload of one message, in bytes.';
COMMENT ON COLUMN pgtopic.topics.changed_at IS 'When the row was last written, also because webhooks were added or deleted. Workers that are not notified look here.';
COMMENT ON COLUMN pgtopic.topics.overflowing_webhook IS 'The first of the topic''s webhooks that overflow and have messages refused for that, kept up to date by triggers on webhooks; null: none.';
COMMENT ON COLUMN pgtopic.topics.accepted_bytes IS 'For publishers: the largest payload that is accepted now; -1 while the topic refuses messages.';
COMMENT ON COLUMN pgtopic.topics.stripes IS 'For publishers: the first of the topic''s 256 stripes; null if the topic is unordered, and takes no locks.';
COMMENT ON COLUMN pgtopic.topics.webhook_ids IS 'For publishers: the topic''s webhooks, kept up to date by triggers on webhooks. Null if one of them has types or a filter: then these are evaluated for each message.';

CREATE TABLE pgtopic.webhooks (
    id                    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic_id              bigint      NOT NULL REFERENCES pgtopic.topics (id) ON DELETE CASCADE,
    name                  text        NOT NULL,
    url                   text        NOT NULL,
    secrets               text[]      NOT NULL,
    headers               json        NOT NULL DEFAULT '{}',
    types                 text[],
    filter                jsonpath,
    filter_limit          integer,
    format                text,
    batch_size            integer     NOT NULL DEFAULT 1,
    max_retries           integer,
    backoff_factor        float8,
    max_backoff_seconds   integer,
    retry_schedule        integer[],
    permanent_statuses    integer[],
    timeout_seconds       integer,
    on_exhausted          text        NOT NULL DEFAULT 'dead_letter',
    max_in_flight         integer,
    rate_limit_per_second float8,
    max_age_seconds       integer,
    max_owed              integer,
    on_overflow           text        NOT NULL DEFAULT 'dead_letter_oldest',
    overflowing           boolean     NOT NULL DEFAULT false,
    breaker               text        NOT NULL DEFAULT 'auto',
    state                 text        NOT NULL DEFAULT 'active',
    paused                boolean     NOT NULL DEFAULT false,
    disabled_reason       text,
    hold_until            timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now(),
    changed_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT webhooks_name_key UNIQUE (topic_id, name),
    CONSTRAINT webhooks_name_check CHECK (name ~ '^[A-Za-z0-9._-]{1,255}$' AND name !~ '^[0-9]+$' AND name !~ '^[.]{1,2}$'),
    CONSTRAINT webhooks_types_check CHECK (cardinality(types) BETWEEN 1 AND 100),
    CONSTRAINT webhooks_format_check CHECK (format IN ('raw', 'envelope', 'cloudevents')),
    CONSTRAINT webhooks_batch_size_check CHECK (batch_size BETWEEN 1 AND 1000),
    CONSTRAINT webhooks_max_retries_check CHECK (max_retries BETWEEN 1 AND 1000),
    CONSTRAINT webhooks_backoff_factor_check CHECK (backoff_factor BETWEEN 1 AND 100),
    CONSTRAINT webhooks_max_backoff_seconds_check CHECK (max_backoff_seconds BETWEEN 1 AND 2592000),
    CONSTRAINT webhooks_retry_schedule_check CHECK (array_ndims(retry_schedule) = 1 AND cardinality(retry_schedule) BETWEEN 1 AND 100
        AND array_position(retry_schedule, NULL) IS NULL AND 1 <= ALL (retry_schedule) AND 2592000 >= ALL (retry_schedule)),
    CONSTRAINT webhooks_retry_schedule_alone_check CHECK (retry_schedule IS NULL
        OR (backoff_factor IS NULL AND max_backoff_seconds IS NULL)),
    CONSTRAINT webhooks_permanent_statuses_check CHECK (array_ndims(permanent_statuses) = 1
        AND cardinality(permanent_statuses) BETWEEN 1 AND 100 AND array_position(permanent_statuses, NULL) IS NULL
        AND 300 <= ALL (permanent_statuses) AND 599 >= ALL (permanent_statuses)),
    CONSTRAINT webhooks_timeout_seconds_check CHECK (timeout_seconds BETWEEN 1 AND 600),
    CONSTRAINT webhooks_on_exhausted_check CHECK (on_exhausted IN ('dead_letter', 'halt')),
    CONSTRAINT webhooks_max_in_flight_check CHECK (max_in_flight BETWEEN 1 AND 10000),
    CONSTRAINT webhooks_rate_limit_per_second_check CHECK (rate_limit_per_second BETWEEN 0.001 AND 1000000),
    CONSTRAINT webhooks_max_age_seconds_check CHECK (max_age_seconds BETWEEN 1 AND 31622400),
    CONSTRAINT webhooks_max_owed_check CHECK (max_owed BETWEEN 1 AND 1000000),
    CONSTRAINT webhooks_on_overflow_check CHECK (on_overflow IN ('dead_letter_oldest', 'keep_latest', 'refuse')),
    CONSTRAINT webhooks_keep_latest_singly_check CHECK (on_overflow <> 'keep_latest' OR batch_size = 1),
    CONSTRAINT webhooks_refuse_limit_check CHECK (on_overflow <> 'refuse' OR max_owed IS NOT NULL),
    CONSTRAINT webhooks_breaker_check CHECK (breaker IN ('auto', 'off')),
    CONSTRAINT webhooks_headers_check CHECK (json_typeof(headers) = 'object'),
    CONSTRAINT webhooks_headers_size_check CHECK (octet_length(headers::text) <= 8192),
    CONSTRAINT webhooks_state_check CHECK (state IN ('starting', 'active'))
);
CREATE INDEX webhooks_changed_at ON pgtopic.webhooks (changed_at);
CREATE INDEX webhooks_max_age ON pgtopic.webhooks (id) WHERE max_age_seconds IS NOT NULL;
CREATE INDEX webhooks_max_owed ON pgtopic.webhooks (id) WHERE max_owed IS NOT NULL OR overflowing;
COMMENT ON TABLE pgtopic.webhooks IS 'Subscriptions of a URL to a topic. A null policy column means the worker''s delivery default.';
COMMENT ON COLUMN pgtopic.webhooks.name IS 'Unique in its topic; webhook-<id> unless one is given. 1 to 255 of [A-Za-z0-9._-], not all digits.';
COMMENT ON COLUMN pgtopic.webhooks.types IS 'The message types that it is owed: exact, or a start followed by * (order.*). Null: every message, also without a type. Looked at before the filter.';
COMMENT ON COLUMN pgtopic.webhooks.secrets IS 'Signing secrets (whsec_...), newest first; each of them signs every request.';
COMMENT ON COLUMN pgtopic.webhooks.headers IS 'Headers of every request, an object of strings: at most 64 of them, 8,192 bytes of JSON text.';
COMMENT ON COLUMN pgtopic.webhooks.filter IS 'A message is owed if payload @@ filter is true, or is not evaluated. Null: every message is owed.';
COMMENT ON COLUMN pgtopic.webhooks.filter_limit IS 'The largest payload, in bytes, for which the filter is evaluated. A trigger computes it from the filter''s shape.';
COMMENT ON COLUMN pgtopic.webhooks.retry_schedule IS 'The wait in seconds after the first failure, after the second, and so on; the last one repeats. Null: backoff_factor and max_backoff_seconds say how long.';
COMMENT ON COLUMN pgtopic.webhooks.permanent_statuses IS 'HTTP statuses after which a message is not tried again; null: none.';
COMMENT ON COLUMN pgtopic.webhooks.max_age_seconds IS 'A message that is older, counted from the later of created_at and published_at, becomes a dead letter and is not sent. Replays are sent. Null: no limit.';
COMMENT ON COLUMN pgtopic.webhooks.max_owed IS 'How many messages it may be owed, replays aside. The leader looks once a second. Null: no limit.';
COMMENT ON COLUMN pgtopic.webhooks.on_overflow IS 'If it is owed more, dead_letter_oldest: its oldest messages become dead letters; refuse: its topic refuses messages. keep_latest: only the newest message of each lane is sent, also without max_owed; if it is owed more, the others become dead letters before that.';
COMMENT ON COLUMN pgtopic.webhooks.overflowing IS 'Written by the leader: it is owed more than max_owed, and since then never less than nine tenths of it.';
COMMENT ON COLUMN pgtopic.webhooks.format IS 'Null: envelope if batch_size is more than 1, else raw.';
COMMENT ON COLUMN pgtopic.webhooks.breaker IS 'auto: if nothing but failures comes back, the breaker opens, and only probes are sent until one is answered; off: it never opens.';
COMMENT ON COLUMN pgtopic.webhooks.state IS 'starting: messages are fanned out to it, but its lanes are not claimed yet; active: both.';
COMMENT ON COLUMN pgtopic.webhooks.disabled_reason IS 'Why it was disabled (the receiver answered 410 Gone, or no request can be made); null while it is enabled. The backlog is kept.';
COMMENT ON COLUMN pgtopic.webhooks.hold_until IS 'Until when its receiver has asked for nothing to be sent; null: it never has. At most 60 s ahead.';
COMMENT ON COLUMN pgtopic.webhooks.changed_at IS 'When the row was last written. Workers that are not notified look here.';

-- The cache stays 1: ids must rise in the order in which they are given.
CREATE SEQUENCE pgtopic.message_ids AS bigint CACHE 1;
COMMENT ON SEQUENCE pgtopic.message_ids IS 'Message ids. They are taken while the partition''s stripe is held. Two neighbours differ by 1, or by 1,024 if the installation has a cell.';

CREATE TABLE pgtopic.messages (
    id              bigint      PRIMARY KEY,
    topic_id        bigint      NOT NULL,
    partition_key   text        NOT NULL DEFAULT 'default',
    type            text,
    payload         json        NOT NULL,
    headers         json,
    idempotency_key text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    published_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    size_bytes      integer     NOT NULL,
    lane            bigint      NOT NULL,
    -- The trigger checks the limits of key, headers, time and idempotency key. As a CHECK, each
    -- would cost every publisher about a tenth of an insert, since PostgreSQL reads it anew for
    -- each statement. This CHECK is needed all the same: somebody else's trigger may run after ours
    -- and change key or topic. That would break the order, so such a row is refused. (If such a
    -- trigger changes the id of an ordered message, nothing is noticed here. Then the message that
    -- is owed is missing, and its deliveries become dead letters.)
    CONSTRAINT messages_lane_check CHECK (lane = hashtextextended(partition_key, topic_id) OR lane = id)
);
CREATE UNIQUE INDEX messages_idempotency_key ON pgtopic.messages (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- This index costs publishers nearly nothing. Messages of some time are found with it.
CREATE INDEX messages_created_at ON pgtopic.messages USING brin (created_at) WITH (autosummarize = on);
COMMENT ON TABLE pgtopic.messages IS 'Published events. INSERT here to publish; the id is given by a trigger.';
COMMENT ON COLUMN pgtopic.messages.topic_id IS 'No foreign key: the trigger has looked the topic up, and a second look costs publishers 15 %.';
COMMENT ON COLUMN pgtopic.messages.type IS 'What kind of event it is: 1 to 255 bytes, such as order.paid; null: none.';
COMMENT ON COLUMN pgtopic.messages.payload IS 'json, not jsonb: these very bytes are signed and sent.';
COMMENT ON COLUMN pgtopic.messages.headers IS 'Headers sent with the message, an object of strings: at most 64 of them, 8,192 bytes of JSON text.';
COMMENT ON COLUMN pgtopic.messages.created_at IS 'Only years that RFC 3339 can write, since it is sent to receivers.';
COMMENT ON COLUMN pgtopic.messages.published_at IS 'When it was inserted here, by the clock of the trigger. Ages count from it, or from created_at if that is later.';
COMMENT ON COLUMN pgtopic.messages.size_bytes IS 'Bytes of payload and headers, given by the trigger. Workers read up to a budget by it, and unpack only what they read.';
COMMENT ON COLUMN pgtopic.messages.lane IS 'hashtextextended(partition_key, topic_id), or the id if the topic is unordered; given by the trigger.';

CREATE UNLOGGED TABLE pgtopic.used_idempotency_keys (
    topic_id        bigint NOT NULL,
    idempotency_key text   NOT NULL,
    PRIMARY KEY (topic_id, idempotency_key)
);
COMMENT ON TABLE pgtopic.used_idempotency_keys IS 'Nobody ever sees a row here. Publishers that use the same key wait here for one another.';

CREATE TABLE pgtopic.deliveries (
    webhook_id  bigint NOT NULL,
    lane        bigint NOT NULL,
    message_id  bigint NOT NULL,
    replayed_at timestamptz,
    PRIMARY KEY (webhook_id, lane, message_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);
COMMENT ON TABLE pgtopic.deliveries IS 'What is still owed: rows are inserted once and deleted once, never updated.';
COMMENT ON COLUMN pgtopic.deliveries.lane IS 'As in messages.';
COMMENT ON COLUMN pgtopic.deliveries.replayed_at IS 'When a replay put it here; null: the message was published.';

CREATE TABLE pgtopic.lanes (
    webhook_id       bigint      NOT NULL,
    lane             bigint      NOT NULL,
    position         bigint      NOT NULL,
    due_at           timestamptz NOT NULL,
    token            bigint,
    head_message_id  bigint,
    batch_last       bigint,
    split_until      bigint,
    wait_seconds     float8,
    batch_count      integer,
    stripe           integer,
    generation       integer     NOT NULL DEFAULT 0,
    failures         integer     NOT NULL DEFAULT 0,
    halted           boolean     NOT NULL DEFAULT false,
    claimed_by       uuid,
    claimed_at       timestamptz,
    partition_key    text        NOT NULL,
    last_error       text,
    last_error_class text,
    last_status_code smallint,
    PRIMARY KEY (webhook_id, lane)
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
-- More than half of each page stays free. Each claim updates the lane's row, and the new version
-- must fit into the same page.
CREATE INDEX lanes_due ON pgtopic.lanes ((webhook_id + 0), due_at);
COMMENT ON INDEX pgtopic.lanes_due IS 'For looks at what is due: webhook_id + 0 = ... ORDER BY due_at. The expression keeps all other lookups from this index.';
COMMENT ON TABLE pgtopic.lanes IS 'The ready queue: a lane has a row here only while it owes something, or a worker holds it.';
COMMENT ON COLUMN pgtopic.lanes.position IS 'Everything up to this message id has left the lane, unless a replay put it back. Reading begins after it.';
COMMENT ON COLUMN pgtopic.lanes.due_at IS 'From when on it may be claimed: now or earlier (ready), later (it waits) or infinity (halted). A claim leaves it as it is.';
COMMENT ON COLUMN pgtopic.lanes.token IS 'The fencing token: a counter of the worker that holds the lane, new with each claim. With claimed_by it guards every write of the holder.';
COMMENT ON COLUMN pgtopic.lanes.head_message_id IS 'The message that failures, last_error, wait_seconds and halted belong to. For any other head they count as none.';
COMMENT ON COLUMN pgtopic.lanes.batch_last IS 'The last message of the batch that failed. head_message_id is its first; null: the head failed alone. The batch is tried again as it was.';
COMMENT ON COLUMN pgtopic.lanes.batch_count IS 'How many messages that batch has. If another number of them is owed, failures count as none.';
COMMENT ON COLUMN pgtopic.lanes.split_until IS 'A batch up to this message has used up its attempts: messages up to it are sent one by one.';
COMMENT ON COLUMN pgtopic.lanes.wait_seconds IS 'How long the lane was to wait when due_at was written; null if it was ready at once. If due_at is further ahead than this, it was written before a step of the clock.';
COMMENT ON COLUMN pgtopic.lanes.stripe IS 'The advisory-lock key that its publishers hold; null if the topic is unordered.';
COMMENT ON COLUMN pgtopic.lanes.generation IS 'How often a replay has put something into the lane, or a cancel has taken something out. A holder that does not know the newest value must not move position.';
COMMENT ON COLUMN pgtopic.lanes.failures IS 'Failed attempts of head_message_id, or of the batch that begins with it.';
COMMENT ON COLUMN pgtopic.lanes.halted IS 'Not sent until an operator acts.';
COMMENT ON COLUMN pgtopic.lanes.claimed_by IS 'The worker incarnation that holds it; null while nobody does.';
COMMENT ON COLUMN pgtopic.lanes.claimed_at IS 'When it was claimed last.';

CREATE TABLE pgtopic.breakers (
    webhook_id    bigint      PRIMARY KEY,
    state         text        NOT NULL DEFAULT 'closed',
    epoch         bigint      NOT NULL DEFAULT 0,
    opened_at     timestamptz,
    next_probe_at timestamptz,
    probes        integer     NOT NULL DEFAULT 0,
    probe_by      uuid,
    probe_token   bigint,
    probe_until   timestamptz,
    probe_lane    bigint      NOT NULL DEFAULT -9223372036854775808,
    suspected_at  timestamptz,
    success_at    timestamptz,
    success_by    uuid,
    wake_after    bigint,
    changed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT breakers_state_check CHECK (state IN ('closed', 'open'))
) WITH (fillfactor = 50);
CREATE INDEX breakers_changed_at ON pgtopic.breakers (changed_at);
CREATE INDEX breakers_open ON pgtopic.breakers (next_probe_at) WHERE state = 'open';
COMMENT ON TABLE pgtopic.breakers IS 'The circuit breakers. A webhook gets its row when a worker first suspects it; without a row its breaker is closed.';
COMMENT ON COLUMN pgtopic.breakers.state IS 'open: only probes are sent, and nothing uses up attempts; closed: all is sent.';
COMMENT ON COLUMN pgtopic.breakers.epoch IS 'It rises each time the breaker opens or closes. A failure of a request that began in an earlier epoch uses up no attempt.';
COMMENT ON COLUMN pgtopic.breakers.probes IS 'How many probes have failed since it opened.';
COMMENT ON COLUMN pgtopic.breakers.probe_by IS 'The worker whose turn it is to probe, until probe_until; null: nobody''s. probe_token: the token of its claim.';
COMMENT ON COLUMN pgtopic.breakers.probe_lane IS 'The lane that was probed last. The next probe takes the lane after it.';
COMMENT ON COLUMN pgtopic.breakers.suspected_at IS 'When a worker last asked the others whether they have a reason not to open it.';
COMMENT ON COLUMN pgtopic.breakers.success_at IS 'When another worker last said that its requests are accepted; written only while it is suspected. success_by: who said it.';
COMMENT ON COLUMN pgtopic.breakers.wake_after IS 'It has closed, and lanes after this one still wait for the end of their back-off, although they are to be due now; null: none.';
COMMENT ON COLUMN pgtopic.breakers.changed_at IS 'When state, epoch, suspected_at or wake_after was last written. Workers look here.';

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
    batch_first      bigint,
    batch_last       bigint,
    probe            boolean     NOT NULL DEFAULT false,
    replay           boolean     NOT NULL DEFAULT false,
    retry_after_seconds integer,
    CONSTRAINT attempts_outcome_check CHECK (outcome IN ('accepted', 'failed', 'gone')),
    CONSTRAINT attempts_error_class_check CHECK (error_class IN ('dns', 'connect', 'tls', 'forbidden', 'timeout', 'status', 'redirect',
                                                                 'protocol', 'request'))
) PARTITION BY RANGE (attempted_at);
CREATE INDEX attempts_delivery ON pgtopic.attempts (webhook_id, message_id);
COMMENT ON TABLE pgtopic.attempts IS 'The attempt log: a row for each message of each request, one partition a day. Append-only. Best effort: rows may be left out.';
COMMENT ON COLUMN pgtopic.attempts.batch_first IS 'The first and the last message of the request; null if it carried one.';
COMMENT ON COLUMN pgtopic.attempts.probe IS 'Whether it only asked whether a failing receiver answers again.';
COMMENT ON COLUMN pgtopic.attempts.replay IS 'Whether the request carried replays.';
COMMENT ON COLUMN pgtopic.attempts.retry_after_seconds IS 'How long the answer asked to wait.';
COMMENT ON COLUMN pgtopic.attempts.response_excerpt IS 'The first 2 KiB of the answer to a failed attempt.';

CREATE TABLE pgtopic.dead_letters (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id    bigint      NOT NULL,
    lane          bigint      NOT NULL,
    message_id    bigint      NOT NULL,
    topic_id      bigint      NOT NULL,
    partition_key text        NOT NULL,
    type          text,
    reason        text        NOT NULL,
    attempts      integer     NOT NULL,
    error_class   text,
    status_code   smallint,
    last_error    text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT dead_letters_delivery_key UNIQUE (webhook_id, message_id),
    CONSTRAINT dead_letters_reason_check CHECK (reason IN ('attempts_exhausted', 'permanent', 'expired', 'overflow', 'skipped',
                                                           'message_missing', 'canceled', 'superseded')),
    CONSTRAINT dead_letters_error_class_check CHECK (error_class IN ('dns', 'connect', 'tls', 'forbidden', 'timeout', 'status',
                                                                     'redirect', 'protocol', 'request'))
);
CREATE INDEX dead_letters_message ON pgtopic.dead_letters (message_id, id);
CREATE INDEX dead_letters_webhook ON pgtopic.dead_letters ((webhook_id + 0), id);
COMMENT ON INDEX pgtopic.dead_letters_webhook IS 'For the list of a webhook: webhook_id + 0 = ... ORDER BY id. The expression keeps lookups by webhook and message from this index.';
COMMENT ON TABLE pgtopic.dead_letters IS 'Deliveries that were given up: they used up their attempts, or their message was deleted. They are kept until they are deleted or replayed, or until retention.dead_letters_days have passed.';
COMMENT ON COLUMN pgtopic.dead_letters.topic_id IS 'Topic, key and type are copies: a dead letter can be listed by them without its message.';
COMMENT ON COLUMN pgtopic.dead_letters.error_class IS 'How the last attempt failed; null if there was none.';

CREATE TABLE pgtopic.workers (
    id           uuid        PRIMARY KEY,
    lock_key     integer     NOT NULL,
    name         text        NOT NULL,
    version      text        NOT NULL,
    capacity     integer     NOT NULL,
    lease        interval    NOT NULL,
    in_flight    integer     NOT NULL DEFAULT 0,
    lanes        integer     NOT NULL DEFAULT 0,
    stopping     boolean     NOT NULL DEFAULT false,
    gone         boolean     NOT NULL DEFAULT false,
    trouble      text,
    topics       text[],
    settings     json        NOT NULL DEFAULT '{}',
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE pgtopic.workers IS 'One row for each worker incarnation. It holds the advisory lock (stripe_class(), lock_key) while it lives.';
COMMENT ON COLUMN pgtopic.workers.lease IS 'If its heartbeat stands still for this long, the worker is taken for hung, and its lanes are released.';
COMMENT ON COLUMN pgtopic.workers.lanes IS 'How many lanes it holds; in_flight of them are being sent. Written with the heartbeat.';
COMMENT ON COLUMN pgtopic.workers.stopping IS 'It was asked to stop: it finishes what is in flight.';
COMMENT ON COLUMN pgtopic.workers.trouble IS 'What goes wrong in it; null: nothing.';
COMMENT ON COLUMN pgtopic.workers.topics IS 'The topics that it sends: names, or beginnings of names with * at the end; null: all.';
COMMENT ON COLUMN pgtopic.workers.settings IS 'Those of its settings that should be the same in all processes: names and values.';
COMMENT ON COLUMN pgtopic.workers.gone IS 'It was taken for dead or hung, or has stopped. It may claim nothing, and anybody may take its lanes. The row is deleted when they are free.';

CREATE TABLE pgtopic.shares (
    webhook_id bigint  NOT NULL,
    worker_id  uuid    NOT NULL REFERENCES pgtopic.workers ON DELETE CASCADE,
    wants      boolean NOT NULL,
    slots      integer,
    slots_held integer NOT NULL,
    rate       float8,
    rate_held  float8  NOT NULL,
    PRIMARY KEY (webhook_id, worker_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE pgtopic.shares IS 'What each worker has of max_in_flight and rate_limit_per_second of a webhook, while it has something to send. A share ends when its worker is gone. There is no foreign key to webhooks: TRUNCATE would be refused. Workers give the shares of a deleted webhook back.';
COMMENT ON COLUMN pgtopic.shares.wants IS 'Whether the worker had something to send when it asked last.';
COMMENT ON COLUMN pgtopic.shares.slots IS 'How many requests it may have in flight; null: max_in_flight is not set.';
COMMENT ON COLUMN pgtopic.shares.slots_held IS 'How many it used, or could use, when it asked. It may be more than slots, until it asks again.';
COMMENT ON COLUMN pgtopic.shares.rate IS 'How many requests a second it may start; null: rate_limit_per_second is not set.';
COMMENT ON COLUMN pgtopic.shares.rate_held IS 'As slots_held, for rate.';

CREATE TYPE pgtopic.last_failure AS (last_status_code smallint, last_error_class text, last_error text);
COMMENT ON TYPE pgtopic.last_failure IS 'What is kept of the last failure of a webhook.';

CREATE TABLE pgtopic.activity (
    worker_id        uuid,
    webhook_id       bigint      NOT NULL,
    at               timestamptz NOT NULL,
    seconds          integer     NOT NULL,
    accepted         bigint      NOT NULL,
    failed           bigint      NOT NULL,
    dead             bigint      NOT NULL,
    in_flight        integer     NOT NULL,
    latency          bigint[]    NOT NULL,
    last_success_at  timestamptz,
    last_failure_at  timestamptz,
    failing_since    timestamptz,
    last_status_code smallint,
    last_error_class text,
    last_error       text
);
CREATE INDEX activity_at ON pgtopic.activity (seconds, at);
CREATE INDEX activity_webhook ON pgtopic.activity (webhook_id, at);
COMMENT ON TABLE pgtopic.activity IS 'What was sent: one row for each worker, webhook and 10 s with traffic. Append-only, best effort. After an hour the leader turns rows into minutes, after 7 days into hours.';
COMMENT ON COLUMN pgtopic.activity.worker_id IS 'The incarnation; null in minutes and hours, which are of all workers.';
COMMENT ON COLUMN pgtopic.activity.at IS 'When the span began, by the clock of the database. It lasted for seconds: 10, 60 or 3,600.';
COMMENT ON COLUMN pgtopic.activity.accepted IS 'How many deliveries were accepted. failed: how many requests failed. dead: how many deliveries were given up.';
COMMENT ON COLUMN pgtopic.activity.in_flight IS 'How many lanes were in flight when the span ended; 0 in minutes and hours.';
COMMENT ON COLUMN pgtopic.activity.latency IS 'How long after its publication each delivery was accepted: how many are in each bucket. Bucket 1 is below 1 ms; the bounds of the others are half powers of two.';
COMMENT ON COLUMN pgtopic.activity.failing_since IS 'If the last request of the worker failed: since when each of its requests has failed.';
COMMENT ON COLUMN pgtopic.activity.last_error IS 'Of the last failure, as last_status_code and last_error_class.';

CREATE TABLE pgtopic.webhook_samples (
    webhook_id          bigint      PRIMARY KEY,
    owed                bigint      NOT NULL DEFAULT 0,
    owed_capped         boolean     NOT NULL DEFAULT false,
    oldest_owed_at      timestamptz,
    ready               bigint      NOT NULL DEFAULT 0,
    claimed             bigint      NOT NULL DEFAULT 0,
    waiting             bigint      NOT NULL DEFAULT 0,
    halted              bigint      NOT NULL DEFAULT 0,
    dead_letters        bigint      NOT NULL DEFAULT 0,
    dead_letters_capped boolean     NOT NULL DEFAULT false,
    in_flight           bigint      NOT NULL DEFAULT 0,
    accepted            bigint      NOT NULL DEFAULT 0,
    failed              bigint      NOT NULL DEFAULT 0,
    latency             bigint[]    NOT NULL DEFAULT '{}',
    last_success_at     timestamptz,
    last_failure_at     timestamptz,
    failing_since       timestamptz,
    last_status_code    smallint,
    last_error_class    text,
    last_error          text
) WITH (fillfactor = 50);
COMMENT ON TABLE pgtopic.webhook_samples IS 'How each webhook was when the leader looked last. A webhook without a row owes nothing, has no dead letters and had no traffic. A row is written only if it changes.';
COMMENT ON COLUMN pgtopic.webhook_samples.owed_capped IS 'More is owed, or lanes were left out: then oldest_owed_at is at most that old.';
COMMENT ON COLUMN pgtopic.webhook_samples.accepted IS 'Deliveries that were accepted in the last minute. failed: requests that failed. latency: as in activity.';
COMMENT ON COLUMN pgtopic.webhook_samples.failing_since IS 'Since when every request has failed; null if the last one was accepted.';

CREATE TABLE pgtopic.topic_samples (
    topic_id             bigint   PRIMARY KEY,
    published_per_second float8   NOT NULL,
    latency              bigint[] NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE pgtopic.topic_samples IS 'The traffic of each topic in the last minute, when the leader looked last. Without a row there was none.';

CREATE TABLE pgtopic.sampled (
    one                  boolean       PRIMARY KEY DEFAULT true,
    sampled_at           timestamptz,
    given_ids            bigint[]      NOT NULL DEFAULT '{}',
    given_at             timestamptz[] NOT NULL DEFAULT '{}',
    CONSTRAINT sampled_one_check CHECK (one)
) WITH (fillfactor = 50);
COMMENT ON TABLE pgtopic.sampled IS 'When the leader looked last at all webhooks: one row.';
COMMENT ON COLUMN pgtopic.sampled.given_ids IS 'The last message id, at the last looks at the traffic, newest first; given_at: when that was.';
INSERT INTO pgtopic.sampled DEFAULT VALUES;

CREATE TABLE pgtopic.leader (
    one    boolean     PRIMARY KEY DEFAULT true,
    worker uuid,
    term   bigint      NOT NULL DEFAULT 0,
    since  timestamptz,
    CONSTRAINT leader_one_check CHECK (one)
);
COMMENT ON TABLE pgtopic.leader IS 'Which worker does the background work: one row. Each step of that work locks the row FOR SHARE first, and checks the term.';
COMMENT ON COLUMN pgtopic.leader.term IS 'The fencing token: it rises with each leader.';
INSERT INTO pgtopic.leader DEFAULT VALUES;

CREATE TABLE pgtopic.background_runs (
    piece       text        PRIMARY KEY,
    worker      uuid        NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    did         bigint      NOT NULL,
    did_in_all  bigint      NOT NULL,
    error       text,
    error_at    timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE pgtopic.background_runs IS 'What the leader did last: one row for each piece of background work. A piece that runs often notes it every 10 s, if it found nothing to do.';
COMMENT ON COLUMN pgtopic.background_runs.did IS 'How many rows the last run dealt with (for partitions: how many were made or dropped); in did_in_all those of all runs.';
COMMENT ON COLUMN pgtopic.background_runs.error IS 'Why the last run failed; null if it succeeded. error_at is when a run failed last.';

CREATE TABLE pgtopic.jobs (
    id                    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind                  text        NOT NULL,
    state                 text        NOT NULL DEFAULT 'queued',
    topic_id              bigint,
    webhook_id            bigint,
    filter                json        NOT NULL DEFAULT '{}',
    progress              json        NOT NULL DEFAULT '{}',
    total                 bigint,
    total_capped          boolean     NOT NULL DEFAULT false,
    done                  bigint      NOT NULL DEFAULT 0,
    already_owed          bigint      NOT NULL DEFAULT 0,
    gone                  bigint      NOT NULL DEFAULT 0,
    filtered              bigint      NOT NULL DEFAULT 0,
    rate_limit_per_second float8,
    error                 text,
    waits_for             text,
    created_by            text        NOT NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    started_at            timestamptz,
    updated_at            timestamptz,
    finished_at           timestamptz,
    CONSTRAINT jobs_kind_check CHECK (kind IN ('replay', 'dead_letter_replay', 'dead_letter_discard', 'cancel', 'backfill', 'purge',
                                               'lanes_retry')),
    CONSTRAINT jobs_state_check CHECK (state IN ('queued', 'running', 'canceling', 'succeeded', 'failed', 'canceled'))
);
CREATE INDEX jobs_unfinished ON pgtopic.jobs (id) WHERE state IN ('queued', 'running', 'canceling');
COMMENT ON TABLE pgtopic.jobs IS 'Long operations. The leader does them in bounded steps. Each step commits with its progress.';
COMMENT ON COLUMN pgtopic.jobs.filter IS 'What it was asked to do, as in the request.';
COMMENT ON COLUMN pgtopic.jobs.progress IS 'Where the next step begins.';
COMMENT ON COLUMN pgtopic.jobs.waits_for IS 'What the next step waits for; null if nothing.';
COMMENT ON COLUMN pgtopic.jobs.created_by IS 'Who asked for it.';

CREATE TABLE pgtopic.changes (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text        NOT NULL,
    topic_id      bigint,
    webhook_id    bigint,
    lane          bigint,
    partition_key text,
    message_id    bigint,
    worker_id     uuid,
    reason        text,
    changed_by    text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_event      boolean     NOT NULL DEFAULT false,
    CONSTRAINT changes_kind_check CHECK (kind IN ('webhook.failing', 'webhook.recovered', 'webhook.disabled', 'webhook.enabled',
                                                  'webhook.paused', 'webhook.resumed', 'webhook.started', 'webhook.open', 'webhook.closed',
                                                  'webhook.overflowing', 'webhook.overflow_ended',
                                                  'topic.paused', 'topic.resumed', 'lane.halted', 'lane.resumed', 'delivery.exhausted',
                                                  'worker.lost',
                                                  'sending.on', 'sending.off'))
);
CREATE INDEX changes_webhook ON pgtopic.changes (webhook_id, id);
CREATE INDEX changes_events ON pgtopic.changes (id) WHERE is_event;
COMMENT ON TABLE pgtopic.changes IS 'The audit log: every change of state is one row, written by the transaction that made the change.';
COMMENT ON COLUMN pgtopic.changes.is_event IS 'Whether the leader is to publish it to the topic of events.';
COMMENT ON COLUMN pgtopic.changes.changed_by IS 'Who did it: worker <id>, leader, the name that the API or the command line gave, or the database role.';

-- Stripes use the lock keys from 0 up, workers those below 0.
CREATE SEQUENCE pgtopic.worker_lock_keys AS integer INCREMENT -1 MINVALUE -2147483648 MAXVALUE -1 START -1 CYCLE;
COMMENT ON SEQUENCE pgtopic.worker_lock_keys IS 'Advisory-lock keys of worker incarnations, below 0.';

-- These two sequences hold instants. They are written with setval and read directly: no row
-- versions are left, and publishers with an old snapshot see the new value too.
CREATE SEQUENCE pgtopic.notify_until AS bigint MINVALUE 0;
COMMENT ON SEQUENCE pgtopic.notify_until IS 'Until this instant (microseconds since 1970) publishers NOTIFY, since a worker listens. 0 while workers poll.';
CREATE SEQUENCE pgtopic.notify_suppressed_until AS bigint MINVALUE 0;
COMMENT ON SEQUENCE pgtopic.notify_suppressed_until IS 'Until this instant (microseconds since 1970) workers poll, and none of them asks publishers to NOTIFY.';
CREATE SEQUENCE pgtopic.filter_errors AS bigint MINVALUE 0;
COMMENT ON SEQUENCE pgtopic.filter_errors IS 'How often a filter was not evaluated: it could not be, or the payload was too large for it. Those messages are owed.';
CREATE SEQUENCE pgtopic.arrived_messages AS bigint MINVALUE 0;
COMMENT ON SEQUENCE pgtopic.arrived_messages IS 'How many messages arrived while triggers were switched off (logical replication, session_replication_role = replica). They were not published here.';

-- The starting values say "never".
SELECT setval('pgtopic.notify_until', 0), setval('pgtopic.notify_suppressed_until', 0), setval('pgtopic.filter_errors', 0),
       setval('pgtopic.arrived_messages', 0);
