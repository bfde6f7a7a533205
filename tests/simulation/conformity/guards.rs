//! Guards that are taken out of our SQL functions. Conformity must notice each of them.

use super::{
    action::Mode,
    functions::Changed,
    scenarios::{self, Scenario},
    script::PLAIN,
    tests::STOPPING,
};
use crate::functions::guards::Guard;

/// How a guard is removed: the file, what is there exactly once, and what is put there.
type Removal = (Guard, &'static str, &'static str, &'static str);

const REMOVALS: [Removal; 50] = [
    (
        Guard::LockBeforeId,
        "publishing/messages_publish",
        "        NEW.id := pg_catalog.nextval('pgtopic.message_ids'::pg_catalog.regclass);
    ELSE
        NEW.id := pg_catalog.nextval('pgtopic.message_ids'::pg_catalog.regclass);
",
        "        NULL;\n    ELSE\n",
    ),
    (
        Guard::LockBeforeId,
        "publishing/messages_publish",
        "    IF pg_catalog.pg_advisory_xact_lock(",
        "    NEW.id := pg_catalog.nextval('pgtopic.message_ids'::pg_catalog.regclass);
    IF pg_catalog.pg_advisory_xact_lock(",
    ),
    (
        Guard::SubscribersAfterLock,
        "publishing/messages_publish",
        "SELECT t.accepted_bytes, t.stripes INTO accepted_bytes, stripe",
        "SELECT t.accepted_bytes, t.stripes, t.webhook_ids INTO accepted_bytes, stripe, webhook_ids",
    ),
    (
        Guard::SubscribersAfterLock,
        "publishing/messages_publish",
        "    SELECT t.webhook_ids INTO webhook_ids
      FROM pgtopic.topics t
     WHERE t.id OPERATOR(pg_catalog.=) NEW.topic_id;
",
        "",
    ),
    (
        Guard::LaneInAnyCase,
        "publishing/messages_fan_out",
        "        BEGIN
            INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
            VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1)
            ON CONFLICT DO NOTHING;
        EXCEPTION",
        "        CONTINUE WHEN EXISTS (SELECT FROM pgtopic.lanes l WHERE l.webhook_id = webhook AND l.lane = message.lane);
        BEGIN
            INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
            VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1)
            ON CONFLICT DO NOTHING;
        EXCEPTION",
    ),
    (Guard::ClaimSkipsLocked, "engine/claim_lanes", "               FOR UPDATE SKIP LOCKED\n", "               FOR UPDATE\n"),
    (Guard::ClaimDue, "engine/claim_lanes", "               AND l.due_at <= statement_timestamp()\n", ""),
    (Guard::ClaimUnclaimed, "engine/claim_lanes", "(l.claimed_by IS NULL\n", "(true\n"),
    (Guard::ClaimRegistered, "engine/require_registered", " AND NOT w.gone FOR KEY SHARE;", " FOR KEY SHARE;"),
    (Guard::ClaimKeepsWorker, "engine/require_registered", " FOR KEY SHARE;", ";"),
    (Guard::ClaimByPlace, "engine/claim_lanes", "SELECT l.place\n", "SELECT l.webhook_id, l.lane\n"),
    (Guard::ClaimByPlace, "engine/claim_lanes", "SELECT l.ctid AS place\n", "SELECT l.webhook_id, l.lane\n"),
    (
        Guard::ClaimByPlace,
        "engine/claim_lanes",
        "WHERE l.ctid = ANY (ARRAY(SELECT due.place FROM due))",
        "FROM due WHERE l.webhook_id = due.webhook_id AND l.lane = due.lane",
    ),
    (
        Guard::SinglyChecksAgain,
        "engine/claim_lanes_singly",
        "WHERE l.ctid = places[at] AND l.webhook_id = claim_lanes_singly.webhook_ids[want]
                    AND l.due_at <= statement_timestamp()
                    AND (l.claimed_by IS NULL
                         OR claim_lanes_singly.sweep
                            AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
",
        "WHERE l.ctid = places[at]\n",
    ),
    (
        Guard::SettleWorker,
        "engine/settle",
        "l.lane = h.lane AND l.claimed_by = settle.worker AND l.token = h.token\n         LIMIT 1",
        "l.lane = h.lane AND l.token = h.token\n         LIMIT 1",
    ),
    (
        Guard::SettleToken,
        "engine/settle",
        "AND l.claimed_by = settle.worker AND l.token = h.token\n         LIMIT 1",
        "AND l.claimed_by = settle.worker\n         LIMIT 1",
    ),
    (
        Guard::SettleGeneration,
        "engine/settle",
        "CASE WHEN l.generation = new.generation THEN greatest(l.position, new.position) ELSE l.position END",
        "greatest(l.position, new.position)",
    ),
    (
        Guard::SettleHead,
        "engine/settle",
        "WHEN h.state IN ('waiting', 'halted') AND x.generation <> h.generation",
        "WHEN false AND x.generation <> h.generation",
    ),
    (
        Guard::SettleEpoch,
        "engine/settle",
        "IF array_remove(lane_epochs, NULL) <> '{}' THEN",
        "IF false THEN",
    ),
    (
        Guard::ClaimClosed,
        "engine/claim_lanes",
        "           AND NOT EXISTS (SELECT FROM pgtopic.breakers b WHERE b.webhook_id = w.id AND b.state = 'open')\n",
        "",
    ),
    (
        Guard::OpenEpoch,
        "engine/open_breaker",
        "       AND b.state = 'closed' AND b.epoch = open_breaker.epoch\n       AND (alone",
        "       AND (alone",
    ),
    (
        Guard::OpenObjection,
        "engine/open_breaker",
        "b.success_by <> worker AND b.success_at > clock_timestamp() - make_interval(secs => success_counts)",
        "false",
    ),
    (Guard::ProbeFree, "engine/take_probes", "(b.probe_until IS NULL OR", "(true OR"),
    (
        Guard::ProbeTurn,
        "engine/close_breaker",
        "(worker IS NULL OR b.epoch = close_breaker.epoch AND b.probe_by = worker AND b.probe_token = token)",
        "true",
    ),
    (Guard::SettleSkipsLocked, "engine/settle", "FOR UPDATE SKIP LOCKED) l ON true", "FOR UPDATE) l ON true"),
    (
        Guard::RemoveStripe,
        "engine/remove_idle_lanes",
        "coalesce(pg_try_advisory_xact_lock(class, x.stripe), true)",
        "true",
    ),
    (
        Guard::RemoveNewStatement,
        "engine/remove_idle_lanes",
        "        SELECT x.ctid AS place, x.stripe, x.generation
          FROM pgtopic.lanes x",
        "        SELECT x.ctid AS place, x.stripe,
               CASE WHEN EXISTS (SELECT FROM pgtopic.deliveries d
                                  WHERE d.webhook_id = x.webhook_id AND d.lane = x.lane AND d.message_id > x.position)
                    THEN -1 ELSE x.generation END AS generation
          FROM pgtopic.lanes x",
    ),
    (
        Guard::RemoveNewStatement,
        "engine/remove_idle_lanes",
        "d.message_id > CASE WHEN h.known THEN x.position ELSE -1 END",
        "NOT h.known",
    ),
    (
        Guard::RemoveGeneration,
        "engine/remove_idle_lanes",
        "CASE WHEN h.known THEN x.position ELSE -1 END",
        "x.position",
    ),
    (
        Guard::RemoveHolder,
        "engine/remove_idle_lanes",
        "           AND x.claimed_by = remove_idle_lanes.worker AND x.token = h.token\n",
        "",
    ),
    (Guard::OweStripe, "operating/owe_deliveries", "(d.webhook_id, d.lane, s.stripe, true) k", "(d.webhook_id, d.lane, NULL, true) k"),
    (
        Guard::OweStripe,
        "operating/owe_deliveries",
        "WHERE pg_try_advisory_xact_lock(pgtopic.stripe_class(), s.stripe)",
        "WHERE s.stripe IS NOT NULL",
    ),
    (
        Guard::OweConflict,
        "operating/owe_deliveries",
        "            ON CONFLICT DO NOTHING\n        RETURNING d.webhook_id",
        "        RETURNING d.webhook_id",
    ),
    (
        Guard::OwePosition,
        "operating/owe_deliveries",
        "position = least(l.position, excluded.position)",
        "position = l.position",
    ),
    (Guard::OweGeneration, "operating/owe_deliveries", "generation = l.generation + 1", "generation = l.generation"),
    (Guard::OweKeepsMessage, "operating/owe_deliveries", "LIMIT 1 FOR KEY SHARE SKIP LOCKED) m", "LIMIT 1) m"),
    (
        Guard::OweFollows,
        "operating/owe_deliveries",
        "CASE WHEN o.follows THEN 'row_locked' ELSE o.refusal END",
        "o.refusal",
    ),
    (Guard::OweForgets, "operating/owe_deliveries", "         WHERE a.outcome = 'owed'));", "         WHERE false));"),
    (
        Guard::CancelGeneration,
        "operating/cancel_deliveries",
        "UPDATE pgtopic.lanes l SET generation = l.generation + 1\n",
        "UPDATE pgtopic.lanes l SET generation = l.generation\n",
    ),
    (
        Guard::CancelInFlight,
        "operating/cancel_deliveries",
        "(head = message.id OR reason NOT IN ('canceled', 'skipped'))",
        "reason NOT IN ('canceled', 'skipped')",
    ),
    (
        Guard::CancelHeld,
        "operating/cancel_deliveries",
        " OR reason NOT IN ('canceled', 'skipped')",
        "",
    ),
    (
        Guard::ReadLatest,
        "engine/read_claimed",
        "CASE WHEN d.replayed_at IS NULL AND d.message_id < c.latest THEN 'superseded'",
        "CASE WHEN false THEN 'superseded'",
    ),
    (
        Guard::ReadLatest,
        "engine/read_lanes",
        "CASE WHEN d.replayed_at IS NULL AND d.message_id < l.latest THEN 'superseded'",
        "CASE WHEN false THEN 'superseded'",
    ),
    (
        Guard::ReleaseHolder,
        "workers/release_lanes",
        "FILTER (WHERE l.claimed_by = release_lanes.worker) AS held",
        "AS held",
    ),
    (
        Guard::ReleaseHolder,
        "workers/release_lanes",
        "x.ctid = l.place AND x.claimed_by = release_lanes.worker",
        "x.ctid = l.place",
    ),
    (
        Guard::ReleaseHolder,
        "workers/release_lanes",
        "\n         WHERE l.claimed_by = release_lanes.worker));",
        "));",
    ),
    (Guard::RemoveGone, "workers/remove_worker", " AND x.gone FOR UPDATE", " FOR UPDATE"),
    (
        Guard::RepairUnclaimed,
        "engine/repair_due_at",
        "(l.claimed_by IS NULL\n                    OR NOT EXISTS",
        "(true\n                    OR NOT EXISTS",
    ),
    (Guard::RetryUnclaimed, "operating/retry_lanes", " AND l.claimed_by IS NULL\n", "\n"),
    (
        Guard::SweepGone,
        "engine/claim_lanes",
        "
                       AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
",
        ")\n",
    ),
];

/// Takes a guard out of the functions.
pub(crate) fn remove(changed: &mut Changed, guard: Guard) {
    let mut removed = false;
    for (_, name, from, to) in REMOVALS.iter().filter(|(other, ..)| *other == guard) {
        changed.replace(name, from, to);
        removed = true;
    }
    assert!(removed, "say how {guard:?} is removed");
}

/// What shows that a guard was removed.
#[derive(Clone, Copy)]
pub(crate) enum Shown {
    /// A random script of this seed, or a later one.
    Script(Mode, u64),
    Scenario(Mode, Scenario),
}

/// What shows that each guard was removed from SQL.
pub(crate) const KNOWN: [(Guard, Shown); 41] = [
    (Guard::LockBeforeId, Shown::Script(PLAIN, 1)),
    (Guard::SubscribersAfterLock, Shown::Script(PLAIN, 7)),
    (Guard::LaneInAnyCase, Shown::Script(PLAIN, 1)),
    (Guard::ClaimSkipsLocked, Shown::Script(PLAIN, 3)),
    (Guard::ClaimDue, Shown::Script(PLAIN, 10)),
    (Guard::ClaimUnclaimed, Shown::Script(PLAIN, 3)),
    (Guard::ClaimRegistered, Shown::Script(PLAIN, 4)),
    (Guard::ClaimKeepsWorker, Shown::Script(PLAIN, 1)),
    (Guard::ClaimByPlace, Shown::Script(STOPPING, 29)),
    (Guard::SettleWorker, Shown::Script(PLAIN, 2)),
    (Guard::SettleToken, Shown::Script(PLAIN, 3)),
    (Guard::SettleGeneration, Shown::Scenario(PLAIN, scenarios::replay_before_settle)),
    (Guard::SettleHead, Shown::Scenario(PLAIN, scenarios::replay_before_wait)),
    (Guard::OweKeepsMessage, Shown::Scenario(PLAIN, scenarios::retention_beside_replay)),
    (Guard::OweConflict, Shown::Scenario(PLAIN, scenarios::backfill_of_owed)),
    (Guard::OweStripe, Shown::Scenario(PLAIN, scenarios::backfill_beside_publisher)),
    (Guard::OweKeepsMessage, Shown::Scenario(PLAIN, scenarios::retention_beside_backfill)),
    (Guard::SettleSkipsLocked, Shown::Scenario(PLAIN, scenarios::settle_of_locked_row)),
    (Guard::RemoveStripe, Shown::Scenario(PLAIN, scenarios::removal_beside_publisher)),
    (Guard::RemoveNewStatement, Shown::Scenario(STOPPING, scenarios::removal_after_publisher)),
    (Guard::RemoveHolder, Shown::Scenario(PLAIN, scenarios::removal_by_another)),
    (Guard::OweStripe, Shown::Script(PLAIN, 2)),
    (Guard::OwePosition, Shown::Script(PLAIN, 1)),
    (Guard::OweGeneration, Shown::Script(PLAIN, 1)),
    (Guard::OweFollows, Shown::Scenario(PLAIN, scenarios::replay_of_locked_lane)),
    (Guard::OweForgets, Shown::Scenario(PLAIN, scenarios::replay_of_failed)),
    (Guard::CancelGeneration, Shown::Script(PLAIN, 5)),
    (Guard::CancelInFlight, Shown::Script(PLAIN, 1)),
    (Guard::ReleaseHolder, Shown::Script(PLAIN, 2)),
    (Guard::RemoveGone, Shown::Script(PLAIN, 22)),
    (Guard::RetryUnclaimed, Shown::Scenario(PLAIN, scenarios::retry_of_held_lane)),
    (Guard::SweepGone, Shown::Scenario(PLAIN, scenarios::sweep_of_held_lane)),
    (Guard::RepairUnclaimed, Shown::Scenario(PLAIN, scenarios::repair_of_held_lane)),
    (Guard::ClaimClosed, Shown::Scenario(PLAIN, scenarios::claim_of_open_webhook)),
    (Guard::SettleEpoch, Shown::Scenario(PLAIN, scenarios::settle_of_earlier_epoch)),
    (Guard::OpenEpoch, Shown::Scenario(PLAIN, scenarios::opening_of_earlier_epoch)),
    (Guard::OpenObjection, Shown::Scenario(PLAIN, scenarios::opening_with_objection)),
    (Guard::ProbeFree, Shown::Scenario(PLAIN, scenarios::probes_of_two_workers)),
    (Guard::ProbeTurn, Shown::Scenario(PLAIN, scenarios::end_of_another_turn)),
    (Guard::ReadLatest, Shown::Scenario(PLAIN, scenarios::read_of_latest)),
    (Guard::CancelHeld, Shown::Scenario(PLAIN, scenarios::giving_up_of_held_lane)),
];
