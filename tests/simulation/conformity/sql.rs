//! A script's steps as SQL, and the server's rows as text.

use std::{collections::BTreeMap, fmt::Display};

use super::{
    action::{Action, Call},
    text::{LaneText, or_dash, sorted},
};
use crate::{
    functions::{claim_lanes::Claim, read_lanes::Held, settle::Settlement},
    postgres::{
        row_lock::{Locked, RowLock},
        tables::Pause,
    },
    schedule::SECOND,
};

/// The partition keys of scripts, by their numbers.
pub(crate) type Keys = Vec<String>;

/// A row as text.
pub(crate) type Cells = Vec<Option<String>>;

/// An incarnation's id.
fn uuid(worker: u32) -> String {
    format!("'00000000-0000-0000-0000-{worker:012}'")
}

fn null<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}

fn text(value: Option<i32>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| format!("'{value}'"))
}

fn array<T: Display>(kind: &str, values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    format!("ARRAY[{}]::{kind}[]", values.join(","))
}

/// The statement of a step.
pub(crate) fn statement(action: &Action, keys: &Keys) -> String {
    match action {
        Action::Begin(level) => format!("BEGIN ISOLATION LEVEL {}", level.as_sql()),
        Action::Commit => "COMMIT".to_owned(),
        Action::Rollback => "ROLLBACK".to_owned(),
        Action::Savepoint(name) => format!("SAVEPOINT s{name}"),
        Action::RollbackTo(name) => format!("ROLLBACK TO s{name}"),
        Action::Release(name) => format!("RELEASE s{name}"),
        Action::Prepare(gid) => format!("PREPARE TRANSACTION 'g{gid}'"),
        Action::EndPrepared(gid, true) => format!("COMMIT PREPARED 'g{gid}'"),
        Action::EndPrepared(gid, false) => format!("ROLLBACK PREPARED 'g{gid}'"),
        Action::Call(call) => invocation(call, keys),
        Action::GoOn => String::new(),
    }
}

#[expect(clippy::too_many_lines, reason = "an arm for each call")]
fn invocation(call: &Call, keys: &Keys) -> String {
    match call {
        Call::CreateTopic { ordered } => format!(
            "INSERT INTO topics (name, ordering, retention) \
             SELECT 't' || count(*), '{}', '1 microsecond' FROM topics RETURNING id",
            if *ordered { "partition" } else { "none" }
        ),
        Call::PauseTopic(topic, paused) => {
            let paused = paused.map(|pause| if pause == Pause::Hold { "'hold'" } else { "'refuse'" });
            format!("UPDATE topics SET paused = {} WHERE id = {topic} RETURNING 1", null(paused))
        }
        Call::CreateWebhook { topic, types, starting } => format!(
            "WITH w AS (
                INSERT INTO webhooks (topic_id, url, secrets, types, state)
                SELECT t.id, 'http://localhost/', '{{whsec_}}', {}, '{}' FROM topics t WHERE t.id = {topic}
                RETURNING *
            ), backfill AS (
                INSERT INTO jobs (kind, topic_id, webhook_id, progress, created_by)
                SELECT 'backfill', w.topic_id, w.id,
                       json_build_object('after', 0, 'left', '[]'::json,
                                         'until', (SELECT coalesce(max(m.id), 0) FROM messages m)), 'test'
                  FROM w WHERE w.state = 'starting'
            )
            SELECT id FROM w",
            types.map_or("NULL".to_owned(), |kind| format!("'{{{kind}}}'::text[]")),
            if *starting { "starting" } else { "active" },
        ),
        Call::Backfill { job, at_most } => {
            format!("SELECT state, did, waits FROM step_job({job}, {at_most}, 0, 0, 0, 0, 0)")
        }
        Call::DeleteWebhook(webhook) => format!("DELETE FROM webhooks WHERE id = {webhook} RETURNING 1"),
        Call::PauseWebhook(webhook, paused) => {
            format!("UPDATE webhooks SET paused = {paused} WHERE id = {webhook} RETURNING 1")
        }
        Call::KeepLatest(webhook, latest) => {
            let policy = if *latest { "keep_latest" } else { "dead_letter_oldest" };
            format!("UPDATE webhooks SET on_overflow = '{policy}' WHERE id = {webhook} RETURNING 1")
        }
        Call::Publish(publication) => format!(
            "INSERT INTO messages (topic_id, partition_key, type, payload, idempotency_key) \
             VALUES ({}, '{}', {}, '1', {}) {} RETURNING id",
            publication.topic,
            keys[publication.key as usize],
            text(publication.kind.map(i32::from)),
            publication.idempotency_key.map_or("NULL".to_owned(), |key| format!("'{key}'")),
            match publication.idempotency_key {
                Some(_) => {
                    "ON CONFLICT (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING"
                }
                None => "",
            }
        ),
        Call::Register(worker) => format!(
            "INSERT INTO workers (id, lock_key, name, version, capacity, lease) \
             VALUES ({}, 0, 'w', '1', 1, '1 h')",
            uuid(*worker)
        ),
        Call::Heartbeat(worker) => {
            format!("SELECT FROM worker_heartbeat({}, 0, 0, false, NULL, 30)", uuid(*worker))
        }
        Call::MarkGone(worker) => format!("SELECT mark_worker_gone({}, 'hung', 'test')", uuid(*worker)),
        Call::ReleaseLanes(worker, at_most) => format!(
            "SELECT released, locked, webhook_id, lane \
             FROM release_lanes({}, {least}, {least}, {at_most})",
            uuid(*worker),
            least = "-9223372036854775808::bigint"
        )
        .replace("-9223372036854775808::bigint", "'-9223372036854775808'"),
        Call::RemoveWorker(worker) => format!("SELECT remove_worker({})", uuid(*worker)),
        Call::Claim(claim) => format!(
            "SELECT {CLAIMED} FROM claim_lanes({}, {}, {}, 1000000)",
            claim_arguments(claim),
            claim.sweep,
            claim.messages_per_lane
        ),
        Call::ClaimSingly(claim) => {
            format!("SELECT {CLAIMED} FROM claim_lanes_singly({}, {})", claim_arguments(claim), claim.sweep)
        }
        Call::ClaimMessages(told) => format!(
            "SELECT {CLAIMED}, token FROM claim_messages({}, {}, {}, {}, NULL, {}, {}, 1000000)",
            uuid(told.worker),
            told.token,
            array("bigint", &told.messages),
            array("bigint", &told.full_webhooks),
            told.lanes_at_most,
            told.messages_per_lane
        ),
        Call::Read { worker, held, at_most } => format!(
            "SELECT webhook_id, lane, \"position\", generation, message_id, replayed_at, state \
             FROM read_lanes({}, {}, {}, {}, {at_most}, 1000000)",
            uuid(*worker),
            lanes_and_tokens(held),
            array("bigint", held.iter().map(|held| held.position)),
            array("integer", held.iter().map(|held| held.generation)),
        ),
        Call::Settle(settlement) => settling(settlement),
        Call::RemoveIdle { worker, held } => format!(
            "SELECT webhook_id, lane, outcome FROM remove_idle_lanes({}, {}, {})",
            uuid(*worker),
            lanes_and_tokens(held),
            array("integer", held.iter().map(|held| held.generation)),
        ),
        Call::ReplayDeliveries { webhook, messages, waits } => format!(
            "SELECT message_id, outcome FROM owe_messages({webhook}, {}, clock_timestamp(), {waits})",
            array("bigint", messages)
        ),
        Call::ReplayDeadLetters { ids, waits } => format!(
            "SELECT dead_letter_id, outcome FROM replay_dead_letters({}, {waits})",
            array("bigint", ids)
        ),
        Call::Cancel { webhook, messages, reason, waits } => format!(
            "SELECT message_id, outcome, dead_letter_id FROM cancel_deliveries({webhook}, {}, '{}', {waits}, 'test')",
            array("bigint", messages),
            reason.as_str()
        ),
        Call::Retry { webhook, lanes } => {
            format!("SELECT retry_lanes({webhook}, {}, 'test')", array("bigint", lanes))
        }
        Call::Discard(ids) => {
            format!("SELECT dead_letter_id, outcome FROM discard_dead_letters({})", array("bigint", ids))
        }
        Call::DeleteOld => "SELECT deleted FROM delete_old_messages(0, 1000, 0)".to_owned(),
        Call::RepairDueAt(at_most) => {
            format!("SELECT corrected, webhook_id FROM repair_due_at(0, '1970-01-01', {at_most})")
        }
        Call::OpenBreaker(ask) => format!(
            "SELECT outcome || ' ' || epoch_now FROM open_breaker({}, {}, {}, 'test', {}, 10, {})",
            uuid(ask.worker),
            ask.webhook,
            ask.epoch,
            ask.objection / SECOND,
            ask.first_probe / SECOND
        ),
        Call::NoteSuccess { worker, webhooks } => {
            format!("SELECT note_success({}, {}, 11)", uuid(*worker), array("bigint", webhooks))
        }
        Call::TakeProbes { worker, token } => format!(
            "SELECT concat_ws(' ', webhook_id, lane, coalesce(message_id::text, '-'), epoch, probes, \
                              CASE WHEN only_lane THEN 'only' ELSE 'more' END) \
             FROM take_probes({}, {token}, 10, NULL, 45, 10, 1, 1000000)",
            uuid(*worker)
        ),
        Call::EndProbe { turn, failed, next_in } => format!(
            "SELECT (end_probe({}, {}, {}, {}, {failed}, {}, NULL) = 'ended')::text",
            uuid(turn.worker),
            turn.token,
            turn.webhook,
            turn.epoch,
            next_in / SECOND
        ),
        Call::CloseBreaker(webhook, turn) => format!(
            "SELECT coalesce(close_breaker({webhook}, {}, {}, {}, 'test', 'test')::text, '-')",
            null(turn.map(|turn| uuid(turn.worker))),
            null(turn.map(|turn| turn.token)),
            null(turn.map(|turn| turn.epoch))
        ),
        Call::WakeLanes(webhook, at_most) => format!("SELECT wake_lanes({webhook}, {at_most})"),
        Call::Postpone { webhook, lane } => format!(
            "UPDATE lanes SET due_at = due_at + interval '1 day' \
             WHERE webhook_id = {webhook} AND lane = {lane} AND due_at < 'infinity' RETURNING 1"
        ),
        Call::LockLane { webhook, lane, mode, locked } => {
            let mode = match mode {
                RowLock::KeyShare => "KEY SHARE",
                RowLock::Share => "SHARE",
                RowLock::NoKeyUpdate => "NO KEY UPDATE",
                RowLock::Update => "UPDATE",
            };
            let locked = match locked {
                Locked::Wait => "",
                Locked::Skip => "SKIP LOCKED",
                Locked::Refuse => "NOWAIT",
            };
            format!("SELECT 1 FROM lanes WHERE webhook_id = {webhook} AND lane = {lane} FOR {mode} {locked}")
        }
    }
}

const CLAIMED: &str = "webhook_id, lane, \"position\", generation, head_message_id, failures, batch_last, \
                       batch_count, split_until, message_id, replayed_at, state";

fn claim_arguments(claim: &Claim) -> String {
    format!(
        "{}, {}, {}, {}, {}",
        uuid(claim.worker),
        claim.token,
        array("bigint", claim.webhooks.iter().map(|(webhook, _)| webhook)),
        array("integer", claim.webhooks.iter().map(|(_, slots)| slots)),
        array("timestamptz", claim.webhooks.iter().map(|_| "'-infinity'")),
    )
}

fn lanes_and_tokens(held: &[Held]) -> String {
    format!(
        "{}, {}, {}",
        array("bigint", held.iter().map(|held| held.webhook)),
        array("bigint", held.iter().map(|held| held.lane)),
        array("bigint", held.iter().map(|held| held.token)),
    )
}

fn settling(call: &Settlement) -> String {
    let lanes = || call.lanes.iter();
    let error_of = |lane: &usize| call.lanes[*lane].error;
    let arguments = [
        uuid(call.worker),
        array("bigint", lanes().map(|lane| lane.webhook)),
        array("bigint", lanes().map(|lane| lane.lane)),
        array("bigint", lanes().map(|lane| lane.token)),
        array("text", lanes().map(|lane| format!("'{}'", lane.becomes.as_str()))),
        array("integer", lanes().map(|lane| lane.generation)),
        array("bigint", lanes().map(|lane| lane.position)),
        array("float8", lanes().map(|lane| lane.delay / SECOND)),
        array("bigint", lanes().map(|lane| null(lane.head))),
        array("integer", lanes().map(|lane| lane.failures)),
        array("bigint", lanes().map(|lane| null(lane.batch_last))),
        array("integer", lanes().map(|lane| null(lane.batch_count))),
        array("bigint", lanes().map(|lane| null(lane.split_until))),
        array("text", lanes().map(|lane| text(lane.error))),
        array("text", lanes().map(|lane| null(lane.error.map(|_| "'status'")))),
        array("smallint", lanes().map(|lane| null(lane.error))),
        array("bigint", lanes().map(|lane| null(lane.epoch))),
        array("integer", call.done.iter().map(|(number, _)| number + 1)),
        array("bigint", call.done.iter().map(|(_, message)| message)),
        array("integer", call.dead.iter().map(|(number, ..)| number + 1)),
        array("bigint", call.dead.iter().map(|(_, message, ..)| message)),
        array("text", call.dead.iter().map(|(.., reason)| format!("'{}'", reason.as_str()))),
        array("integer", call.dead.iter().map(|(_, _, attempts, _)| attempts)),
        array("text", call.dead.iter().map(|(number, ..)| null(error_of(number).map(|_| "'status'")))),
        array("smallint", call.dead.iter().map(|(number, ..)| null(error_of(number)))),
        array("text", call.dead.iter().map(|(number, ..)| text(error_of(number)))),
    ];
    format!("SELECT number, outcome, generation FROM settle({})", arguments.join(", "))
}

fn cell(cells: &Cells, at: usize) -> String {
    or_dash(cells[at].as_deref())
}

/// The server's answer as the model writes it.
pub(crate) fn answer(action: &Action, rows: &[Cells]) -> String {
    let Action::Call(call) = action else { return String::new() };
    match call {
        Call::Claim(_) | Call::ClaimSingly(_) | Call::ClaimMessages(_) => claimed(rows),
        Call::Read { .. } => grouped("read", rows, 2..4),
        Call::RemoveIdle { .. } => {
            sorted(rows.iter().map(|row| format!("{}/{} {}", cell(row, 0), cell(row, 1), cell(row, 2))))
        }
        Call::ReleaseLanes(..) => sorted(rows.iter().map(|row| {
            let at = row[2].as_ref().map(|webhook| format!("{webhook}/{}", cell(row, 3)));
            format!("{} {} {}", cell(row, 0), cell(row, 1), or_dash(at))
        })),
        Call::PauseTopic(..)
        | Call::DeleteWebhook(_)
        | Call::PauseWebhook(..)
        | Call::KeepLatest(..)
        | Call::LockLane { .. }
        | Call::Postpone { .. } => if rows.is_empty() { "none" } else { "found" }.to_owned(),
        Call::Register(_) | Call::Heartbeat(_) => String::new(),
        Call::Publish(_) | Call::CreateWebhook { .. } if rows.is_empty() => "-".to_owned(),
        Call::MarkGone(_) | Call::RemoveWorker(_) => {
            sorted(rows.iter().map(|row| (cell(row, 0) == "t").to_string()))
        }
        _ => sorted(rows.iter().map(|row| {
            let cells: Vec<String> = (0..row.len()).map(|at| cell(row, at)).collect();
            cells.join(" ")
        })),
    }
}

/// Rows of the claim functions; those of `claim_messages` have a token at the end.
fn claimed(rows: &[Cells]) -> String {
    let is_held = |row: &Cells| row[11].as_deref() == Some("held");
    let (held, new): (Vec<Cells>, Vec<Cells>) = rows.iter().cloned().partition(is_held);
    let held = held.iter().map(|row| {
        LaneText {
            name: "held",
            webhook: cell(row, 0),
            lane: cell(row, 1),
            fields: vec![cell(row, 2), cell(row, 3), cell(row, 12)],
            messages: vec![message(row, 9)],
        }
        .line()
    });
    let new: Vec<Cells> = new.into_iter().map(|row| row[..12].to_vec()).collect();
    let mut lines: Vec<String> = held.collect();
    if !new.is_empty() {
        lines.extend(grouped("claimed", &new, 2..9).lines().map(str::to_owned));
    }
    sorted(lines)
}

/// The message of a row, with its marks; then come `replayed_at` and the state.
fn message(row: &Cells, at: usize) -> String {
    let replay = if row[at + 1].is_some() { "r" } else { "" };
    let state = match row[at + 2].as_deref() {
        Some("missing") => "m",
        Some("superseded") => "s",
        _ => "",
    };
    format!("{}{replay}{state}", cell(row, at))
}

/// The fields of a lane, and its messages by their ids.
type Grouped = (Vec<String>, BTreeMap<i64, String>);

/// One line for each lane of rows that have a message each.
fn grouped(name: &'static str, rows: &[Cells], fields: std::ops::Range<usize>) -> String {
    let mut lanes: BTreeMap<(String, String), Grouped> = BTreeMap::new();
    for row in rows {
        let lane = lanes.entry((cell(row, 0), cell(row, 1))).or_default();
        lane.0 = fields.clone().map(|at| cell(row, at)).collect();
        let at = fields.end;
        if let Some(id) = row[at].as_ref().and_then(|id| id.parse().ok()) {
            lane.1.insert(id, message(row, at));
        }
    }
    sorted(lanes.into_iter().map(|((webhook, lane), (fields, messages))| {
        LaneText { name, webhook, lane, fields, messages: messages.into_values().collect() }.line()
    }))
}

/// What is committed, a line for each row, as the model writes it. Publishers notify only while an
/// instant lies ahead: it is put forward here.
pub(crate) const TABLES: &str = "
SELECT NULL FROM setval('notify_until', CASE WHEN may_notify()
                                             THEN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 9000000
                                             ELSE 0 END)
UNION ALL
SELECT concat_ws(' ', 'topic', id, coalesce(paused, '-'), coalesce(webhook_ids::text, '-')) FROM topics
UNION ALL
SELECT concat_ws(' ', 'webhook', id, topic_id, coalesce(types[1], '-'), paused::text,
                 (state = 'starting')::text) FROM webhooks
UNION ALL
SELECT concat_ws(' ', 'message', id, topic_id, 'key:' || partition_key, coalesce(type, '-'),
                 coalesce(idempotency_key, '-'), lane) FROM messages
UNION ALL
SELECT concat_ws(' ', 'delivery', webhook_id, lane, message_id, (replayed_at IS NOT NULL)::text) FROM deliveries
UNION ALL
SELECT concat_ws(' ', 'lane', webhook_id, lane, 'key:' || partition_key, coalesce(stripe::text, '-'), position,
                 CASE WHEN due_at = 'infinity' THEN 'never'
                      WHEN due_at <= clock_timestamp() + interval '1 s' THEN 'now' ELSE 'later' END,
                 coalesce(round(wait_seconds)::text, '-'), coalesce(token::text, '-'),
                 coalesce(ltrim(right(claimed_by::text, 12), '0'), '-'), generation,
                 coalesce(head_message_id::text, '-'), coalesce(batch_last::text, '-'),
                 coalesce(batch_count::text, '-'), coalesce(split_until::text, '-'), failures, halted::text,
                 coalesce(last_error, '-')) FROM lanes
UNION ALL
SELECT concat_ws(' ', 'dead', id, webhook_id, lane, message_id, 'key:' || partition_key, reason, attempts,
                 coalesce(last_error, '-')) FROM dead_letters
UNION ALL
SELECT concat_ws(' ', 'job', id, state, done, already_owed) FROM jobs
UNION ALL
SELECT concat_ws(' ', 'breaker', webhook_id, state, epoch, probes,
                 CASE WHEN state = 'closed' THEN '-'
                      WHEN next_probe_at <= clock_timestamp() + interval '1 s' THEN 'now' ELSE 'later' END,
                 coalesce(ltrim(right(probe_by::text, 12), '0'), '-'),
                 coalesce(probe_token::text, '-'), probe_lane, (suspected_at IS NOT NULL)::text,
                 coalesce(ltrim(right(success_by::text, 12), '0'), '-'), coalesce(wake_after::text, '-')) FROM breakers
UNION ALL
SELECT concat_ws(' ', 'worker', ltrim(right(id::text, 12), '0'), gone::text) FROM workers";
