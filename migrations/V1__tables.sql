-- The tables. Unqualified names: the migration runs with the search path set to pgtopic's schema.

CREATE TABLE topics (
    id                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name              text        NOT NULL CONSTRAINT topics_name_key UNIQUE,
    ordering          text        NOT NULL DEFAULT 'partition',
    retention         interval,
    paused            boolean     NOT NULL DEFAULT false,
    max_payload_bytes integer     NOT NULL DEFAULT 1048576,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT topics_name_check CHECK (name ~ '^[A-Za-z0-9._-]{1,255}$' AND name !~ '^[0-9]+$'),
    CONSTRAINT topics_ordering_check CHECK (ordering IN ('partition', 'none')),
    CONSTRAINT topics_retention_check CHECK (retention > interval '0'),
    CONSTRAINT topics_max_payload_bytes_check CHECK (max_payload_bytes > 0)
);
COMMENT ON TABLE topics IS 'Named streams of messages.';
COMMENT ON COLUMN topics.name IS '1-255 of [A-Za-z0-9._-], not all digits, so that an id and a name never look alike.';
COMMENT ON COLUMN topics.ordering IS 'partition: messages with one partition key stay in commit order; none: each stands alone. Never changes.';
COMMENT ON COLUMN topics.retention IS 'How long messages that nobody is owed any more are kept; null keeps them.';
COMMENT ON COLUMN topics.paused IS 'A paused topic refuses messages.';

CREATE TABLE webhooks (
    id                    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic_id              bigint      NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
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
    CONSTRAINT webhooks_state_check CHECK (state IN ('starting', 'active'))
);
CREATE INDEX webhooks_topic ON webhooks (topic_id);
COMMENT ON TABLE webhooks IS 'Subscriptions of a URL to a topic. A null policy column means the worker''s delivery default.';
COMMENT ON COLUMN webhooks.secrets IS 'Signing secrets (whsec_...), newest first; each of them signs every request.';
COMMENT ON COLUMN webhooks.filter IS 'Only messages for which payload @@ filter is not false or null are owed.';
COMMENT ON COLUMN webhooks.state IS 'starting: fanned out to, not claimed yet; active: both.';
COMMENT ON COLUMN webhooks.disabled_reason IS 'Why requests stopped (a receiver answered 410 Gone); null while enabled. The backlog is kept.';

-- Cache stays 1: ids must rise in the order they are given out.
CREATE SEQUENCE message_ids AS bigint CACHE 1;
COMMENT ON SEQUENCE message_ids IS 'Message ids, given out under the partition''s stripe lock.';

CREATE TABLE messages (
    id              bigint      PRIMARY KEY,
    topic_id        bigint      NOT NULL,
    partition_key   text        NOT NULL DEFAULT 'default',
    payload         json        NOT NULL,
    headers         json,
    idempotency_key text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    payload_bytes   integer     NOT NULL,
    CONSTRAINT messages_partition_key_check CHECK (octet_length(partition_key) BETWEEN 1 AND 1024),
    CONSTRAINT messages_headers_check CHECK (json_typeof(headers) = 'object'),
    CONSTRAINT messages_created_at_check CHECK (created_at >= '0001-01-01' AND created_at < '9999-12-31'),
    CONSTRAINT messages_idempotency_key_check CHECK (octet_length(idempotency_key) BETWEEN 1 AND 255)
);
CREATE UNIQUE INDEX messages_idempotency_key ON messages (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Nearly free for publishers, and enough for retention to find what is old.
CREATE INDEX messages_created_at ON messages USING brin (created_at) WITH (autosummarize = on);
COMMENT ON TABLE messages IS 'Published events. INSERT here to publish; the id is given by a trigger.';
COMMENT ON COLUMN messages.topic_id IS 'No foreign key: the trigger has looked the topic up, and a second look costs publishers 15 %.';
COMMENT ON COLUMN messages.payload IS 'json, not jsonb: these very bytes are signed and sent.';
COMMENT ON COLUMN messages.payload_bytes IS 'Length of the payload, given by the trigger: workers read by size without unpacking what they leave.';
COMMENT ON COLUMN messages.created_at IS 'Within the years that RFC 3339 can write: it is sent to receivers.';
COMMENT ON COLUMN messages.headers IS 'Headers sent with the message, an object of strings.';

CREATE TABLE deliveries (
    webhook_id bigint NOT NULL,
    lane       bigint NOT NULL,
    message_id bigint NOT NULL,
    PRIMARY KEY (webhook_id, lane, message_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);
COMMENT ON TABLE deliveries IS 'What is still owed: rows are inserted once and deleted once, never updated.';
COMMENT ON COLUMN deliveries.lane IS 'hashtextextended(partition_key, topic_id), or the message''s id where the topic is unordered.';

CREATE TABLE lanes (
    webhook_id    bigint      NOT NULL,
    lane          bigint      NOT NULL,
    partition_key text        NOT NULL,
    due_at        timestamptz NOT NULL,
    claimed_by    uuid,
    token         bigint,
    position      bigint      NOT NULL,
    rewinds       integer     NOT NULL DEFAULT 0,
    failures      integer     NOT NULL DEFAULT 0,
    last_error    text,
    halted        boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (webhook_id, lane)
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lanes_due ON lanes (webhook_id, due_at);
-- Half of each page stays free: every row is updated once, by its claim, and that update must fit beside it.
COMMENT ON TABLE lanes IS 'The ready queue: a lane has a row here only while it owes something, or a worker holds it.';
COMMENT ON COLUMN lanes.due_at IS 'When it may next be claimed: since it became ready, after a backoff, or never (halted). A claim leaves it as it is.';
COMMENT ON COLUMN lanes.claimed_by IS 'The worker incarnation that holds it; null while nobody does.';
COMMENT ON COLUMN lanes.token IS 'A counter of that worker, renewed with the lease; guards every write of the holder.';
COMMENT ON COLUMN lanes.position IS 'Everything up to this message id has left the lane, unless a replay put it back; where reading begins.';
COMMENT ON COLUMN lanes.rewinds IS 'How often position was lowered; a holder that does not know the newest value must not move position.';
COMMENT ON COLUMN lanes.failures IS 'Failed attempts of the lane''s head.';

CREATE TABLE attempts (
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
    CONSTRAINT attempts_outcome_check CHECK (outcome IN ('accepted', 'failed', 'gone'))
) PARTITION BY RANGE (attempted_at);
CREATE INDEX attempts_delivery ON attempts (webhook_id, message_id);
COMMENT ON TABLE attempts IS 'Append-only log of every request, one partition a day.';
COMMENT ON COLUMN attempts.response_excerpt IS 'The first 2 KiB of the answer to a failed attempt.';

CREATE TABLE dead_letters (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id bigint      NOT NULL,
    lane       bigint      NOT NULL,
    message_id bigint      NOT NULL,
    reason     text        NOT NULL,
    attempts   integer     NOT NULL,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT dead_letters_delivery_key UNIQUE (webhook_id, message_id),
    CONSTRAINT dead_letters_reason_check CHECK (reason IN ('attempts_exhausted', 'message_missing'))
);
CREATE INDEX dead_letters_message ON dead_letters (message_id);
COMMENT ON TABLE dead_letters IS 'The dead-letter partition of each webhook: deliveries that used up their attempts, kept until replayed or discarded.';

CREATE TABLE workers (
    id           uuid        PRIMARY KEY,
    lock_key     integer     NOT NULL,
    name         text        NOT NULL,
    version      text        NOT NULL,
    capacity     integer     NOT NULL,
    lease        interval    NOT NULL,
    in_flight    integer     NOT NULL DEFAULT 0,
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE workers IS 'One row per live worker incarnation, which holds the advisory lock (stripe_class(), lock_key) while it lives.';
COMMENT ON COLUMN workers.lease IS 'A worker whose heartbeat did not move for this long is taken for hung, and its lanes are seized.';

-- The stripes use the keys 0-1023 of the same class.
CREATE SEQUENCE worker_lock_keys AS integer MINVALUE 1024 CYCLE;
COMMENT ON SEQUENCE worker_lock_keys IS 'Advisory-lock keys of worker incarnations.';

-- Written with setval and read in place: no row versions, and visible to publishers with an old snapshot.
CREATE SEQUENCE quiet_until AS bigint MINVALUE 0;
COMMENT ON SEQUENCE quiet_until IS 'Until this instant (microseconds since 1970) workers poll, and publishers need not NOTIFY.';
CREATE SEQUENCE listening_until AS bigint MINVALUE 0;
COMMENT ON SEQUENCE listening_until IS 'Until this instant (microseconds since 1970) at least one worker listens.';
CREATE SEQUENCE filter_errors AS bigint MINVALUE 0;
COMMENT ON SEQUENCE filter_errors IS 'How many filters could not be evaluated; those messages are delivered.';

-- The starting values say "never": nobody is quiet, nobody listens.
SELECT setval('quiet_until', 0), setval('listening_until', 0), setval('filter_errors', 0);
