//! The statements that the engine asks for, and their answers as events.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{debug, warn};
use uuid::Uuid;

use super::{
    super::{
        engine::{
            TAIL_LIMIT,
            command::{Command, Unusable},
            event::{ClaimAnswer, Event, LogAnswer, ReadAnswer, SettleAnswer, Written},
            failure::{Effect, Failure},
        },
        tuning::{BREAKER_OBJECTION, PROBE_WAIT, SUCCESS_COUNTS, SUPPRESS_FOR, SUSPECTED, WAKE_LANES},
    },
    halves::in_halves,
};
use crate::{
    domain::{
        breaker::BreakerRow, dead_letter::Reason, known_targets::KnownTargets, lane::LaneKey,
        policy::PolicyDefaults, scope::TopicScope,
    },
    store::{
        AttemptRow, ChangedTargets, Claim, HeldLane, LaneOutcomes, Look, OpeningTimes, ReadLimits, Removal,
        SettleOutcome, Settlement, Store, StoreError, Want,
    },
    telemetry::metrics::Metrics,
};

/// The times of an opening.
const OPENING: OpeningTimes =
    OpeningTimes { objection: BREAKER_OBJECTION, success_counts: SUCCESS_COUNTS, first_probe: PROBE_WAIT[0] };

/// What a statement has given.
pub(super) enum Answer {
    /// Something for the engine.
    Event(Event),
    /// The webhooks and breakers that have changed, and which versions are known now.
    Webhooks(KnownTargets, Result<(ChangedTargets, Vec<BreakerRow>), Failure>),
    /// What became of a settle, and what it has written.
    Settled(SettleAnswer, Vec<SettledLane>),
    /// Nothing.
    Nothing,
}

/// What a settle has written of one lane.
pub(super) struct SettledLane {
    pub(super) webhook_id: i64,
    pub(super) delivered: u64,
    /// Why each of the others was given up.
    pub(super) dead: Vec<Reason>,
}

/// Executes statements for one incarnation of a worker.
#[derive(Clone)]
pub(super) struct Statements {
    pub(super) store: Store,
    pub(super) worker: Uuid,
    pub(super) defaults: PolicyDefaults,
    /// The topics that this worker sends.
    pub(super) topics: Arc<TopicScope>,
    pub(super) metrics: Metrics,
}

/// What an error means for the engine.
fn failure(error: &StoreError) -> Failure {
    let effect = if error.is_not_registered() {
        Effect::NotRegistered
    } else if error.is_refusal() {
        Effect::Nothing
    } else {
        Effect::Unknown
    };
    Failure { effect, text: error.to_string() }
}

fn answer<T>(result: Result<T, StoreError>) -> Result<T, Failure> {
    result.map_err(|error| failure(&error))
}

impl Statements {
    /// Executes a command that is a statement. `None`: the command is no statement.
    pub(super) async fn execute(self, command: Command) -> Answer {
        let (store, worker) = (&self.store, self.worker);
        Answer::Event(match command {
            Command::ListDueWebhooks { after, sweep } => {
                Event::DueWebhooks(answer(store.list_due_webhooks(after, sweep).await))
            }
            Command::Claim { token, wants, sweep, limits } => {
                let begun = Instant::now();
                let answer = self.claim(token, &wants, sweep, limits).await;
                self.metrics.claimed(begun.elapsed());
                Event::Claimed(answer)
            }
            Command::ClaimMessages { token, message_ids, room, limits } => {
                let begun = Instant::now();
                let looked =
                    store.claim_messages(worker, token, &message_ids, &room, limits, &self.topics).await;
                self.metrics.claimed(begun.elapsed());
                Event::MessagesClaimed(answer(looked))
            }
            Command::Read { lanes, limits } => Event::Read(self.read(lanes, limits).await),
            Command::ReadTail { after, missing } => {
                let limit = i64::try_from(TAIL_LIMIT).unwrap_or(i64::MAX);
                Event::TailRead(answer(store.list_news(after, &missing, limit).await))
            }
            Command::Settle { settlement, again, remove } => {
                let begun = Instant::now();
                let settled = self.settle(&settlement, again, &remove).await;
                return self.settled(settled, &settlement, begun.elapsed());
            }
            Command::LogAttempts { rows, refusals_max } => {
                Event::AttemptsLogged(self.log_attempts(rows, refusals_max).await)
            }
            Command::WriteActivity { seconds, rows } => {
                if let Err(error) = store.append_activity(worker, seconds, &rows).await {
                    debug!(%error, "activity could not be written; it is left out");
                }
                Event::ActivityWritten
            }
            Command::ShareLimits { asks, done } => {
                Event::Shares(answer(store.share_limits(worker, &asks, &done).await))
            }
            Command::RecordOutages(changes) => {
                // Best effort: delivery goes on without it.
                if let Err(error) = store.record_outages(worker, &changes).await {
                    debug!(%error, "outages are not in the audit log");
                }
                return Answer::Nothing;
            }
            Command::SuppressNotifications { announce } => {
                // If this fails, only speed suffers.
                if store.quiet(SUPPRESS_FOR).await.is_ok() && announce {
                    let _ = store.announce_quiet().await;
                }
                return Answer::Nothing;
            }
            Command::Disable { webhook_id } => {
                let reason = "the receiver answered 410 Gone";
                match store.disable_webhook(webhook_id, reason, worker).await {
                    Ok(()) => return Answer::Nothing,
                    Err(error) => Event::NotDisabled { webhook_id, failure: failure(&error) },
                }
            }
            Command::Hold { webhook_id, hold } => {
                // Without it this worker alone holds the webhook. Another one is asked to wait by
                // the answer to its own request.
                if let Err(error) = store.hold_webhook(webhook_id, hold).await {
                    warn!(webhook_id, %error, "other workers are not told that the receiver has asked for a pause");
                }
                return Answer::Nothing;
            }
            Command::DisableUnusable(unusable) => match self.disable_unusable(&unusable).await {
                Ok(()) => return Answer::Nothing,
                Err(failure) => Event::NotDisabled { webhook_id: unusable.webhook_id, failure },
            },
            Command::OpenBreaker { webhook_id, epoch, reason } => {
                let opening = store.open_breaker(worker, webhook_id, epoch, &reason, OPENING).await;
                Event::BreakerAsked { webhook_id, answer: answer(opening) }
            }
            Command::NoteSuccess(webhook_ids) => {
                // Best effort: if it fails, the breaker may open for a moment.
                if let Err(error) = store.note_success(worker, &webhook_ids, SUSPECTED).await {
                    debug!(%error, "a success could not be noted");
                }
                return Answer::Nothing;
            }
            Command::TakeProbes { token, want, limits } => {
                Event::ProbesTaken(answer(store.take_probes(worker, token, want, limits, &self.topics).await))
            }
            Command::EndProbe { turn, end } => {
                let ended = store.end_probe(worker, turn, &end).await;
                Event::ProbeTurnEnded { webhook_id: turn.webhook_id, answer: answer(ended) }
            }
            Command::WakeLanes { webhook_id } => {
                let woken = store.wake_lanes(webhook_id, WAKE_LANES).await;
                Event::LanesWoken { webhook_id, answer: answer(woken) }
            }
            Command::LoadWebhooks { .. }
            | Command::DeleteOrphans
            | Command::StartBurst(_)
            | Command::StopBurst(_)
            | Command::YieldBurst(_)
            | Command::StopWebhook(_)
            | Command::SetRate { .. } => return Answer::Nothing,
        })
    }

    /// Reads the webhooks that have changed. `all`: looks at all of them.
    pub(super) async fn load_webhooks(self, mut known: KnownTargets, all: bool) -> Answer {
        let look = if all { Look::All } else { Look::Changed };
        let since = known.unknown_since().filter(|_| !all);
        let changed = async {
            let changed = self.store.list_changed_targets(&mut known, look, &self.defaults).await?;
            Ok((changed, self.store.list_changed_breakers(since, SUSPECTED).await?))
        };
        let changed = answer(changed.await);
        if changed.is_err() {
            // Both are read again, whichever has failed.
            known = KnownTargets::default();
        }
        Answer::Webhooks(known, changed)
    }

    async fn claim(
        &self,
        token: i64,
        wants: &[Want],
        sweep: bool,
        limits: ReadLimits,
    ) -> Result<ClaimAnswer, Failure> {
        match self.store.claim_lanes(self.worker, token, wants, sweep, limits).await {
            Ok(lanes) => Ok(ClaimAnswer { lanes, one_by_one: None }),
            // One lane may be the reason. The others are claimed without it. From here on only this
            // second answer counts. So the first call must have done nothing for certain: lanes
            // that it had claimed would be lost.
            Err(error) if error.is_refusal() && error.may_be_of_a_row() => {
                let lanes = answer(self.store.claim_lanes_singly(self.worker, token, wants, sweep).await)?;
                Ok(ClaimAnswer { lanes, one_by_one: Some(failure(&error)) })
            }
            Err(error) => Err(failure(&error)),
        }
    }

    /// Reads what lanes owe. A read locks no rows, so if it takes too long, no single lane is the
    /// reason. If a lane has a message that cannot be read, the messages before it are read, one in
    /// each call.
    async fn read(&self, lanes: Vec<HeldLane>, limits: ReadLimits) -> Result<ReadAnswer, Failure> {
        let read = in_halves(lanes, StoreError::may_be_of_a_row, |lanes: Vec<HeldLane>| async move {
            self.store.read_lanes(self.worker, &lanes, limits).await
        });
        let read = answer(read.await)?;
        let mut read_answer = ReadAnswer { lanes: read.answers, unreadable: Vec::new() };
        for (lane, error) in read.failed {
            let one = ReadLimits { messages_per_lane: 1, ..limits };
            match self.store.read_lanes(self.worker, &[lane], one).await {
                Ok(first) => read_answer.lanes.extend(first),
                Err(_) => read_answer.unreadable.push((lane, failure(&error))),
            }
        }
        Ok(read_answer)
    }

    async fn settle(&self, settlement: &Settlement, again: bool, remove: &[HeldLane]) -> SettleAnswer {
        let claims: Vec<Claim> = settlement.keys().copied().collect();
        let written = in_halves(claims, may_be_of_a_lane, |claims: Vec<Claim>| async move {
            // Nearly always all of it; after a failure, a half or less.
            if claims.len() == settlement.len() {
                return self.store.settle(self.worker, settlement).await;
            }
            let part = claims.iter().filter_map(|claim| Some((*claim, settlement.get(claim)?.clone())));
            self.store.settle(self.worker, &part.collect()).await
        });
        let written = answer(written.await).map(|written| Written {
            outcomes: written.answers,
            refused: written.failed.into_iter().map(|(claim, error)| (claim, failure(&error))).collect(),
        });
        let removed = if written.is_ok() { self.remove_idle(remove).await } else { Ok(HashMap::new()) };
        SettleAnswer { again, written, removed }
    }

    /// Counts what a settle has written.
    fn settled(&self, answer: SettleAnswer, settlement: &Settlement, took: Duration) -> Answer {
        let mut lanes = Vec::new();
        let mut stale = 0;
        for (claim, outcome) in answer.written.iter().flat_map(|written| &written.outcomes) {
            match (outcome, settlement.get(claim)) {
                (SettleOutcome::Written | SettleOutcome::Renewed(_), Some(outcomes)) => {
                    lanes.push(SettledLane {
                        webhook_id: claim.0.webhook_id,
                        delivered: outcomes.done.len() as u64,
                        dead: outcomes.dead.iter().map(|dead| dead.reason).collect(),
                    });
                }
                (SettleOutcome::Lost, _) => stale += 1,
                _ => {}
            }
        }
        if !settlement.is_empty() {
            self.metrics.settle_ended(settlement.values().map(LaneOutcomes::count).sum(), took);
        }
        self.metrics.settles_stale(stale);
        Answer::Settled(answer, lanes)
    }

    /// Removes idle lanes. A lane whose row cannot be deleted stays.
    async fn remove_idle(&self, lanes: &[HeldLane]) -> Result<HashMap<LaneKey, Removal>, Failure> {
        let removed = in_halves(lanes.to_vec(), may_be_of_a_lane, |lanes: Vec<HeldLane>| async move {
            Ok(self.store.remove_idle_lanes(self.worker, &lanes).await?.into_iter().collect())
        });
        Ok(answer(removed.await)?.answers.into_iter().collect())
    }

    /// Appends to the attempt log. A row that PostgreSQL refuses is left out alone. Each written row
    /// allows one more refused statement.
    async fn log_attempts(&self, rows: Vec<AttemptRow>, refusals_max: usize) -> LogAnswer {
        let (count, written, refusals) = (rows.len(), AtomicUsize::new(0), AtomicUsize::new(0));
        let written_so_far = &written;
        let of_a_row = |error: &StoreError| {
            let allowed = refusals_max + written_so_far.load(Ordering::Relaxed);
            error.may_be_of_a_row() && refusals.fetch_add(1, Ordering::Relaxed) < allowed
        };
        let appended = in_halves(rows, of_a_row, |rows: Vec<AttemptRow>| async move {
            self.store.append_attempts(self.worker, &rows).await?;
            written_so_far.fetch_add(rows.len(), Ordering::Relaxed);
            Ok(Vec::<()>::new())
        });
        let (refused, error) = match appended.await {
            Ok(halved) => (halved.failed.len(), halved.failed.into_iter().next().map(|(_, error)| error)),
            Err(error) => (0, Some(error)),
        };
        let failure = error.as_ref().map(failure);
        LogAnswer { rows: count, written: written.into_inner(), refused, failure }
    }

    /// No request can be made for the webhook: disables it, and keeps its backlog. Only the worker
    /// that has disabled it logs that.
    async fn disable_unusable(&self, unusable: &Unusable) -> Result<(), Failure> {
        let Unusable { webhook_id, version, reason } = unusable;
        if answer(self.store.disable_unusable_webhook(*webhook_id, version, reason, self.worker).await)? {
            warn!(
                webhook_id,
                reason, "no request can be made for the webhook: disabled, its backlog is kept"
            );
        }
        Ok(())
    }
}

/// Whether one of the lanes may be the reason why writing failed: its row or one of its deliveries
/// may be locked, or be refused.
fn may_be_of_a_lane(error: &StoreError) -> bool {
    error.may_be_of_a_row() || error.took_too_long()
}
