//! The functions of the schema, changed for conformity: with break points, or without a guard.

use std::fmt::Write;

use tokio_postgres::Client;

/// Where functions stop: the file, and pieces of its text in their order. `@` is the place.
const BREAK_POINTS: [(&str, &[&str]); 34] = [
    (
        "publishing/messages_publish",
        &[
            "@    SELECT t.accepted_bytes, t.stripes",
            "@    IF pg_catalog.pg_advisory_xact_lock(",
            "@    SELECT t.webhook_ids INTO webhook_ids",
            "@            WITH fanned AS (",
            "@    IF pg_catalog.pg_sequence_last_value('pgtopic.notify_until'",
        ],
    ),
    (
        "publishing/messages_fan_out",
        &["@        INSERT INTO pgtopic.deliveries", "@        IF committed THEN"],
    ),
    (
        "publishing/lock_idempotency_key",
        &[
            "@    INSERT INTO pgtopic.used_idempotency_keys",
            "@    DELETE FROM pgtopic.used_idempotency_keys",
            "@    PERFORM FROM pgtopic.messages",
        ],
    ),
    (
        "publishing/list_webhooks_of_topics",
        &["@    PERFORM FROM pgtopic.topics", "@    UPDATE pgtopic.topics"],
    ),
    ("engine/require_registered", &["@    PERFORM FROM pgtopic.workers"]),
    ("engine/claim_lanes", &["@    -- The CTE is a fence.", "@    -- A new statement has a new snapshot."]),
    (
        "engine/claim_lanes_singly",
        &["@        places := ARRAY(", "@            BEGIN\n                -- If the row changes"],
    ),
    (
        "engine/claim_messages",
        &[
            "@    -- As in claim_lanes.",
            "@        RETURN QUERY\n        SELECT r.webhook_id",
            "@    RETURN QUERY\n    SELECT l.webhook_id",
        ],
    ),
    ("engine/read_lanes", &["@    RETURN QUERY"]),
    (
        "engine/open_breaker",
        &[
            "@    INSERT INTO pgtopic.breakers",
            "@    UPDATE pgtopic.breakers b\n       SET state = 'open'",
            "@    -- What an earlier suspicion",
            "@    SELECT * INTO found_as",
        ],
    ),
    ("engine/note_success", &["@    UPDATE pgtopic.breakers b"]),
    ("engine/take_probes", &["@    FOR probe IN", "@        one := NULL;", "@    RETURN QUERY"]),
    ("engine/end_probe", &["@    UPDATE pgtopic.breakers b"]),
    ("engine/close_breaker", &["@    UPDATE pgtopic.breakers b", "@    INSERT INTO pgtopic.changes"]),
    (
        "engine/wake_lanes",
        &["@    SELECT b.wake_after INTO after", "@    until := (SELECT", "@    UPDATE pgtopic.breakers b"],
    ),
    ("engine/repair_due_at", &["@    RETURN QUERY"]),
    ("jobs/begin_job_step", &["@    SELECT j.* INTO job"]),
    ("jobs/step_job", &["@    UPDATE pgtopic.jobs j"]),
    (
        "jobs/replay_step",
        &["@    SELECT * INTO picked", "@    SELECT count(*) FILTER (WHERE o.outcome = 'owed')"],
    ),
    ("jobs/pick_messages", &["@    -- What is seen is read in order"]),
    (
        "engine/settle",
        &[
            "@    SELECT array_agg(l.generation IS NOT NULL",
            "@        outdated := ARRAY(",
            "@    IF cardinality(done_messages) > 0 THEN",
            "@    IF cardinality(dead_messages) > 0 THEN",
            "@    IF changes THEN",
            "@    IF false = ANY (mine) THEN",
        ],
    ),
    (
        "engine/remove_idle_lanes",
        &[
            "@    -- An unordered lane has no stripe",
            "@    -- New statements see what",
            "@    RETURN QUERY\n    UPDATE pgtopic.lanes",
        ],
    ),
    (
        "operating/lock_lane",
        &[
            "        END;\n@        SELECT l.* INTO held",
            "            RETURN;\n        END IF;\n@        SELECT l.* INTO held",
        ],
    ),
    (
        "operating/owe_deliveries",
        &[
            "@    SELECT coalesce(array_agg(s.stripe), '{}') INTO free",
            "@    -- New statements see what",
            "@    WITH allowed AS MATERIALIZED (",
            "@    -- A row may go on telling",
            "@    -- A transaction sends no more",
        ],
    ),
    ("operating/owe_messages", &["@    SELECT coalesce(array_agg((owe_messages.webhook_id"]),
    ("operating/replay_dead_letters", &["@    SELECT coalesce(array_agg((x.webhook_id"]),
    (
        "operating/cancel_deliveries",
        &[
            "@    FOR message IN",
            "@        SELECT k.* INTO locked",
            "@        head := (SELECT",
            "@        DELETE FROM pgtopic.deliveries d",
            "@        INSERT INTO pgtopic.dead_letters AS x",
            "@        IF is_reason THEN\n            UPDATE",
        ],
    ),
    (
        "operating/retry_lanes",
        &[
            "@    SELECT array_agg(x.l) INTO held",
            "@    UPDATE pgtopic.lanes l\n       SET failures",
            "@    -- A transaction sends no more",
        ],
    ),
    ("operating/discard_dead_letters", &["@    WITH gone AS (", "@    RETURN QUERY"]),
    ("workers/mark_worker_gone", &["@    UPDATE pgtopic.workers w", "@    IF reason IS NOT NULL THEN"]),
    ("workers/release_lanes", &["@    SELECT s.held, s.webhook_id", "@    UPDATE pgtopic.lanes l"]),
    ("workers/remove_worker", &["@    DELETE FROM pgtopic.workers w", "@    RETURN FOUND OR"]),
    ("workers/worker_heartbeat", &["@    IF lease_seconds IS NULL THEN"]),
    (
        "background/delete_old_messages",
        &[
            "@    SELECT max(m.id), count(*)",
            "@    SELECT array_agg(m.id) INTO locked",
            "@    WITH gone AS (",
        ],
    ),
];

/// Where functions stop inside a statement: after its snapshot, before it locks rows.
const INSIDE: [(&str, &str, &str); 3] = [
    (
        "engine/claim_lanes",
        "AND NOT w.paused AND w.disabled_reason IS NULL",
        "AND NOT w.paused AND CASE WHEN pgtopic.stop_here() IS NOT NULL THEN w.disabled_reason IS NULL END",
    ),
    (
        "engine/remove_idle_lanes",
        "WHERE coalesce(pg_try_advisory_xact_lock(class, x.stripe), true)",
        "WHERE CASE WHEN pgtopic.stop_here() IS NOT NULL
               THEN coalesce(pg_try_advisory_xact_lock(class, x.stripe), true) END",
    ),
    (
        "operating/owe_deliveries",
        "LEFT JOIN LATERAL pgtopic.lane_stripe(d.webhook_id, d.lane) s ON true\n",
        "LEFT JOIN LATERAL pgtopic.lane_stripe(d.webhook_id, d.lane) s ON true
         WHERE pgtopic.stop_here() IS NOT NULL\n",
    ),
];

/// A break point: a session that is asked to stops here until the test lets it go on. Locks of the
/// session stand for that: they leave no trace in its transaction.
const STOP_HERE: &str = "
CREATE OR REPLACE FUNCTION pgtopic.stop_here() RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET lock_timeout = 0
AS $$
DECLARE
    who  text := current_setting('conformity.session', true);
    turn integer;
BEGIN
    IF coalesce(who, '') = '' THEN
        RETURN false;
    END IF;
    turn := nextval(format('pgtopic.conformity_turn_%s', who)::regclass) % 2;
    PERFORM pg_advisory_lock(77000 + who::integer, turn);
    PERFORM pg_advisory_unlock(77000 + who::integer, turn);
    RETURN true;
END
$$";

/// The text of a function's file.
pub(crate) fn read(name: &str) -> String {
    let path = format!("{}/sql/functions/{name}.sql", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Replaces what is there exactly once.
pub(crate) fn replace_once(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "exactly once: {from}");
    text.replace(from, to)
}

/// Changes texts of functions. Several changes of one file are made in one copy.
#[derive(Default)]
pub(crate) struct Changed(Vec<(String, String)>);

impl Changed {
    /// Replaces a piece of a file that is there exactly once.
    pub(crate) fn replace(&mut self, name: &str, from: &str, to: &str) {
        let at = self.0.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            self.0.push((name.to_owned(), read(name)));
            self.0.len() - 1
        });
        self.0[at].1 = replace_once(&self.0[at].1, from, to);
    }

    /// Puts break points into all functions.
    pub(crate) fn stop(&mut self) {
        for (name, from, to) in INSIDE {
            self.replace(name, from, to);
        }
        for (name, pieces) in BREAK_POINTS {
            for piece in pieces {
                let stop = "    at_break := pgtopic.stop_here();\n";
                self.replace(name, &piece.replace('@', ""), &piece.replace('@', stop));
            }
            let text = self.0.iter().find(|(other, _)| other == name).map(|(_, text)| text.clone());
            let (from, to) = if text.is_some_and(|text| text.contains("\nDECLARE\n")) {
                ("\nDECLARE\n", "\nDECLARE\n    at_break boolean;\n")
            } else {
                ("\nBEGIN\n", "\nDECLARE\n    at_break boolean;\nBEGIN\n")
            };
            self.replace(name, from, to);
        }
    }

    /// Applies the changed functions to a database.
    pub(crate) async fn apply(&self, client: &Client) {
        client.batch_execute(STOP_HERE).await.unwrap();
        for (name, text) in &self.0 {
            client.batch_execute(text).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

/// Sets `lock_timeout` of the functions that have one: to little, or to none.
pub(crate) async fn set_lock_timeouts(client: &Client, limited: bool) {
    let find = "SELECT p.oid::regprocedure::text FROM pg_proc p
                 WHERE p.pronamespace = 'pgtopic'::regnamespace
                   AND EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'lock_timeout=%s')";
    let mut all = String::new();
    for row in client.query(find, &[]).await.unwrap() {
        let function: String = row.get(0);
        let value = if limited { "SET lock_timeout = '100ms'" } else { "RESET lock_timeout" };
        let _ = write!(all, "ALTER FUNCTION {function} {value};");
    }
    assert!(!all.is_empty(), "functions with a lock_timeout");
    client.batch_execute(&all).await.unwrap();
}
