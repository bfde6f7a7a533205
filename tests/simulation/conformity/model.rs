//! A script's steps in the model.

use std::{cell::RefCell, rc::Rc};

use super::{
    action::{Action, Call, Mode, SESSIONS, Seen, Stands},
    text::{LaneText, or_dash, sorted},
};
use crate::{
    functions::{
        Claimed,
        cancel_deliveries::cancel_deliveries,
        claim_lanes::claim_lanes,
        claim_lanes_singly::claim_lanes_singly,
        claim_messages::claim_messages,
        close_breaker::close_breaker,
        create_webhook,
        delete_old_messages::delete_old_messages,
        discard_dead_letters::discard_dead_letters,
        end_probe::end_probe,
        guards::Guards,
        mark_worker_gone::mark_worker_gone,
        messages_publish::insert_message,
        note_success::note_success,
        open_breaker::{Opening, open_breaker},
        owe_messages::owe_messages,
        read_lanes::read_lanes,
        release_lanes::release_lanes,
        remove_idle_lanes::remove_idle_lanes,
        remove_worker::remove_worker,
        repair_due_at::repair_due_at,
        replay_dead_letters::replay_dead_letters,
        retry_lanes::retry_lanes,
        settle::{Said, settle},
        step_job::step_job,
        take_probes::take_probes,
        update_webhook::{create_topic, keep_latest, pause_topic, pause_webhook},
        wake_lanes::{Woken, wake_lanes},
        worker_heartbeat::{register_worker, worker_heartbeat},
    },
    postgres::{
        Database, Settings,
        error::Result,
        notify::Notification,
        session::Session,
        tables::{
            Breaker, DeadLetter, Delivery, INFINITY, Job, JobState, Lane, Message, Pause, Topic, Webhook,
            Worker,
        },
        view::View,
    },
    schedule::{Micros, SECOND, Schedule},
};

/// A day.
const DAY: Micros = 86_400 * SECOND;

/// What a worker has learnt from an answer.
#[derive(Clone, Debug)]
pub(crate) struct Learnt {
    pub(crate) worker: u32,
    pub(crate) lane: Lane,
    pub(crate) messages: Vec<i64>,
}

#[derive(Default)]
struct Slot {
    busy: bool,
    answer: Option<String>,
}

/// The model with the sessions of a script.
pub(crate) struct Model {
    pub(crate) database: Database,
    schedule: Schedule,
    pub(crate) sessions: Vec<Session>,
    listener: Session,
    slots: Rc<RefCell<Vec<Slot>>>,
    learnt: Rc<RefCell<Vec<Learnt>>>,
}

impl Model {
    pub(crate) fn new(seed: u64, mode: Mode, guards: Guards, lanes: &Rc<Vec<((i64, u32), i64)>>) -> Self {
        let schedule = Schedule::new(seed);
        let settings = Settings {
            guards,
            notifies: mode.notifies,
            lock_timeouts: mode.lock_timeouts,
            any_victim: seed % 3 == 2,
            lanes: Rc::clone(lanes),
            ..Settings::default()
        };
        let database = Database::new(&schedule, settings);
        database.state().notify_until = if mode.notifies { INFINITY } else { 0 };
        let sessions: Vec<_> = (0..SESSIONS).map(|_| database.connect()).collect();
        let listener = database.connect();
        listener.listen();
        for (session, stops) in sessions.iter().zip(mode.stops) {
            session.set_stops(stops);
        }
        let slots = Rc::new(RefCell::new((0..SESSIONS).map(|_| Slot::default()).collect()));
        Self { database, schedule, sessions, listener, slots, learnt: Rc::default() }
    }

    /// How the sessions stand.
    pub(crate) fn stands(&self) -> [Stands; SESSIONS] {
        std::array::from_fn(|session| {
            if !self.slots.borrow()[session].busy {
                Stands::Idle
            } else if self.sessions[session].is_stopped() {
                Stands::Stopped
            } else {
                Stands::Waits
            }
        })
    }

    /// What workers have learnt since the last call.
    pub(crate) fn take_learnt(&self) -> Vec<Learnt> {
        self.learnt.take()
    }

    /// A step, until no session can go on.
    pub(crate) fn step(&self, number: usize, action: &Action) -> Seen {
        let session = self.sessions[number].clone();
        if matches!(action, Action::GoOn) {
            session.go_on();
        } else {
            self.slots.borrow_mut()[number].busy = true;
            let (slots, learnt, action) = (Rc::clone(&self.slots), Rc::clone(&self.learnt), action.clone());
            self.schedule.spawn(async move {
                let answer = match act(&session, &action, &learnt).await {
                    Ok(answer) => answer,
                    Err(error) => format!("error {}", error.sqlstate()),
                };
                slots.borrow_mut()[number] = Slot { busy: false, answer: Some(answer) };
            });
        }
        self.schedule.run_until_idle();
        // Only limits of waits are timers here.
        while self.schedule.advance() {
            self.schedule.run_until_idle();
        }
        self.seen()
    }

    fn seen(&self) -> Seen {
        let mut answers = Vec::new();
        for (number, slot) in self.slots.borrow_mut().iter_mut().enumerate() {
            answers.extend(slot.answer.take().map(|answer| (number, answer)));
        }
        let mut notifications: Vec<_> =
            self.listener.notifications().into_iter().map(Notification::text).collect();
        notifications.sort_unstable();
        let now = self.schedule.now();
        let mut tables = self.database.peek(|view| tables(view, now));
        tables.sort_unstable();
        Seen { stands: self.stands(), answers, notifications, tables }
    }
}

async fn act(session: &Session, action: &Action, learnt: &RefCell<Vec<Learnt>>) -> Result<String> {
    match action {
        Action::Begin(level) => session.begin(*level)?,
        Action::Commit => session.commit()?,
        Action::Rollback => session.rollback()?,
        Action::Savepoint(name) => session.savepoint(*name)?,
        Action::RollbackTo(name) => session.rollback_to(*name)?,
        Action::Release(name) => session.release(*name)?,
        Action::Prepare(gid) => session.prepare(*gid)?,
        Action::EndPrepared(gid, commits) => session.end_prepared(*gid, *commits)?,
        Action::Call(call) => return session.call(async || invoke(session, call, learnt).await).await,
        Action::GoOn => {}
    }
    Ok(String::new())
}

#[expect(clippy::too_many_lines, reason = "an arm for each call")]
async fn invoke(session: &Session, call: &Call, learnt: &RefCell<Vec<Learnt>>) -> Result<String> {
    let learn = |worker: u32, claimed: &[Claimed]| {
        learnt.borrow_mut().extend(claimed.iter().map(|claimed| Learnt {
            worker,
            lane: claimed.lane.clone(),
            messages: claimed.messages.iter().map(|read| read.message).collect(),
        }));
    };
    Ok(match call {
        Call::CreateTopic { ordered } => create_topic(session, *ordered).await?.to_string(),
        Call::PauseTopic(topic, paused) => found(pause_topic(session, *topic, *paused).await?),
        Call::CreateWebhook { topic, types, starting } => {
            or_dash(create_webhook::create_webhook(session, *topic, *types, *starting).await?)
        }
        Call::DeleteWebhook(webhook) => found(create_webhook::delete_webhook(session, *webhook).await?),
        Call::PauseWebhook(webhook, paused) => found(pause_webhook(session, *webhook, *paused).await?),
        Call::KeepLatest(webhook, latest) => found(keep_latest(session, *webhook, *latest).await?),
        Call::Backfill { job, at_most } => {
            let (state, did, waits) = step_job(session, *job, *at_most).await?;
            format!("{} {did} {}", or_dash(state.map(JobState::as_str)), if waits { "t" } else { "f" })
        }
        Call::Publish(publication) => or_dash(insert_message(session, publication).await?),
        Call::Register(worker) => {
            register_worker(session, *worker, 0).await?;
            String::new()
        }
        Call::Heartbeat(worker) => {
            worker_heartbeat(session, *worker).await?;
            String::new()
        }
        Call::MarkGone(worker) => mark_worker_gone(session, *worker).await?.to_string(),
        Call::ReleaseLanes(worker, at_most) => {
            let step = release_lanes(session, *worker, (i64::MIN, i64::MIN), *at_most).await?;
            let at = step.at.map(|(webhook, lane)| format!("{webhook}/{lane}"));
            format!("{} {} {}", step.freed, step.locked, or_dash(at))
        }
        Call::RemoveWorker(worker) => remove_worker(session, *worker).await?.to_string(),
        Call::Claim(claim) => {
            let claimed = claim_lanes(session, claim).await?;
            learn(claim.worker, &claimed);
            sorted(claimed.iter().map(claimed_line))
        }
        Call::ClaimSingly(claim) => {
            let claimed = claim_lanes_singly(session, claim).await?;
            learn(claim.worker, &claimed);
            sorted(claimed.iter().map(claimed_line))
        }
        Call::ClaimMessages(told) => {
            let (claimed, held) = claim_messages(session, told).await?;
            learn(told.worker, &claimed);
            sorted(claimed.iter().map(claimed_line).chain(held.iter().map(held_line)))
        }
        Call::Read { worker, held, at_most } => {
            let read = read_lanes(session, *worker, held, *at_most).await?;
            learn(*worker, &read);
            sorted(read.iter().map(read_line))
        }
        Call::Settle(settlement) => {
            let said = settle(session, settlement).await?;
            sorted(said.iter().map(|(number, said)| match said {
                Said::Locked => format!("{} locked -", number + 1),
                Said::Lost => format!("{} lost -", number + 1),
                Said::Renewed(generation) => format!("{} renewed {generation}", number + 1),
            }))
        }
        Call::RemoveIdle { worker, held } => {
            let removed = remove_idle_lanes(session, *worker, held).await?;
            sorted(removed.iter().map(|((webhook, lane), removed)| {
                format!("{webhook}/{lane} {}", if *removed { "removed" } else { "rewound" })
            }))
        }
        Call::ReplayDeliveries { webhook, messages, waits } => {
            outcomes(&owe_messages(session, *webhook, messages, true, *waits).await?)
        }
        Call::ReplayDeadLetters { ids, waits } => outcomes(&replay_dead_letters(session, ids, *waits).await?),
        Call::Cancel { webhook, messages, reason, waits } => {
            let rows = cancel_deliveries(session, *webhook, messages, *reason, *waits).await?;
            sorted(
                rows.into_iter().map(|(id, outcome, letter)| format!("{id} {outcome} {}", or_dash(letter))),
            )
        }
        Call::Retry { webhook, lanes } => retry_lanes(session, *webhook, lanes).await?.to_string(),
        Call::Discard(ids) => outcomes(&discard_dead_letters(session, ids).await?),
        Call::DeleteOld => delete_old_messages(session).await?.to_string(),
        Call::RepairDueAt(at_most) => {
            let (corrected, webhook) = repair_due_at(session, *at_most).await?;
            format!("{corrected} {}", or_dash(webhook))
        }
        Call::OpenBreaker(ask) => match open_breaker(session, *ask).await? {
            Opening::Opened(epoch) => format!("opened {epoch}"),
            Opening::Asked => format!("asked {}", ask.epoch),
            Opening::Refused => format!("refused {}", ask.epoch),
            Opening::Outdated(epoch) => format!("outdated {epoch}"),
            Opening::Off => format!("off {}", ask.epoch),
        },
        Call::NoteSuccess { worker, webhooks } => note_success(session, *worker, webhooks).await?.to_string(),
        Call::TakeProbes { worker, token } => {
            let taken = take_probes(session, *worker, *token, 10, |_| 100 * SECOND, 1).await?;
            let lanes: Vec<Claimed> = taken.iter().map(|probe| probe.lane.clone()).collect();
            learn(*worker, &lanes);
            sorted(taken.iter().map(|probe| {
                let (lane, only) = (&probe.lane.lane, if probe.only_lane { "only" } else { "more" });
                let message = or_dash(probe.lane.messages.first().map(|read| read.message));
                format!("{} {} {message} {} {} {only}", lane.webhook, lane.lane, probe.epoch, probe.probes)
            }))
        }
        Call::EndProbe { turn, failed, next_in } => {
            end_probe(session, *turn, *failed, *next_in, false).await?.to_string()
        }
        Call::CloseBreaker(webhook, turn) => or_dash(close_breaker(session, *webhook, *turn).await?),
        Call::WakeLanes(webhook, at_most) => match wake_lanes(session, *webhook, *at_most).await? {
            Woken::More => "more",
            Woken::Done => "done",
            Woken::Nothing => "none",
        }
        .to_owned(),
        Call::Postpone { webhook, lane } => {
            let statement = session.statement().await?;
            let place = statement.read(|view| view.find::<Lane>(&(*webhook, *lane)).map(|(place, _)| place));
            let later = |lane: &Lane| {
                (lane.due_at < INFINITY).then(|| Lane { due_at: lane.due_at + DAY, ..lane.clone() })
            };
            let row = match place {
                Some(place) => statement.update(place, later).await?,
                None => None,
            };
            found(row.is_some())
        }
        Call::LockLane { webhook, lane, mode, locked } => {
            let statement = session.statement().await?;
            let place = statement.read(|view| view.find::<Lane>(&(*webhook, *lane)).map(|(place, _)| place));
            let row = match place {
                Some(place) => statement.lock(place, *mode, *locked, |_: &Lane| true).await?,
                None => None,
            };
            found(row.is_some())
        }
    })
}

fn found(found: bool) -> String {
    if found { "found" } else { "none" }.to_owned()
}

fn outcomes(rows: &[(i64, &'static str)]) -> String {
    sorted(rows.iter().map(|(id, outcome)| format!("{id} {outcome}")))
}

fn messages(claimed: &Claimed) -> Vec<String> {
    let marks = claimed.messages.iter().map(|read| {
        let (replay, missing) = (if read.replayed { "r" } else { "" }, if read.missing { "m" } else { "" });
        let superseded = if read.superseded { "s" } else { "" };
        format!("{}{replay}{missing}{superseded}", read.message)
    });
    marks.collect()
}

fn text(name: &'static str, claimed: &Claimed, fields: Vec<String>) -> String {
    let (webhook, lane) = (claimed.lane.webhook.to_string(), claimed.lane.lane.to_string());
    LaneText { name, webhook, lane, fields, messages: messages(claimed) }.line()
}

fn claimed_line(claimed: &Claimed) -> String {
    let lane = &claimed.lane;
    let fields = vec![
        lane.position.to_string(),
        lane.generation.to_string(),
        or_dash(lane.head),
        lane.failures.to_string(),
        or_dash(lane.batch_last),
        or_dash(lane.batch_count),
        or_dash(lane.split_until),
    ];
    text("claimed", claimed, fields)
}

fn held_line(claimed: &Claimed) -> String {
    let lane = &claimed.lane;
    text("held", claimed, vec![lane.position.to_string(), lane.generation.to_string(), or_dash(lane.token)])
}

fn read_line(claimed: &Claimed) -> String {
    text("read", claimed, vec![claimed.lane.position.to_string(), claimed.lane.generation.to_string()])
}

/// What is committed, a line for each row.
fn tables(view: &View<'_>, now: Micros) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(view.range::<Topic>(..).map(|(_, row)| {
        let paused = row.paused.map(|pause| if pause == Pause::Hold { "hold" } else { "refuse" });
        let ids = row.webhook_ids.as_ref().map(|ids| {
            let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
            format!("{{{}}}", ids.join(","))
        });
        format!("topic {} {} {}", row.id, or_dash(paused), or_dash(ids))
    }));
    lines.extend(view.range::<Webhook>(..).map(|(_, row)| {
        format!("webhook {} {} {} {} {}", row.id, row.topic, or_dash(row.types), row.paused, row.starting)
    }));
    lines.extend(view.range::<Message>(..).map(|(_, row)| {
        let (kind, key) = (or_dash(row.kind), or_dash(row.idempotency_key));
        format!("message {} {} k{} {kind} {key} {}", row.id, row.topic, row.key, row.lane)
    }));
    lines.extend(
        view.range::<Delivery>(..).map(|(_, row)| {
            format!("delivery {} {} {} {}", row.webhook, row.lane, row.message, row.replayed)
        }),
    );
    lines.extend(view.range::<Lane>(..).map(|(_, row)| lane_line(row, now)));
    lines.extend(view.range::<DeadLetter>(..).map(|(_, row)| {
        let DeadLetter { id, webhook, lane, message, key, reason, attempts, error } = row;
        let reason = reason.as_str();
        format!("dead {id} {webhook} {lane} {message} k{key} {reason} {attempts} {}", or_dash(*error))
    }));
    lines.extend(
        view.range::<Job>(..).map(|(_, row)| {
            format!("job {} {} {} {}", row.id, row.state.as_str(), row.done, row.already_owed)
        }),
    );
    lines.extend(view.range::<Breaker>(..).map(|(_, row)| breaker_line(row, now)));
    lines.extend(view.range::<Worker>(..).map(|(_, row)| format!("worker {} {}", row.id, row.gone)));
    lines
}

fn breaker_line(row: &Breaker, now: Micros) -> String {
    let Breaker { webhook, epoch, probes, probe, probe_lane, suspected_at, success, wake_after, .. } = row;
    let state = if row.open { "open" } else { "closed" };
    let (by, token) = (probe.as_ref().map(|probe| probe.by), probe.as_ref().map(|probe| probe.token));
    let (by, token, success) = (or_dash(by), or_dash(token), or_dash(success.map(|(by, _)| by)));
    let (suspected, wake_after) = (suspected_at.is_some(), or_dash(*wake_after));
    let due = match row.next_probe_at {
        _ if !row.open => "-",
        at if at <= now + SECOND => "now",
        _ => "later",
    };
    format!(
        "breaker {webhook} {state} {epoch} {probes} {due} {by} {token} {probe_lane} {suspected} {success} {wake_after}"
    )
}

fn lane_line(row: &Lane, now: Micros) -> String {
    let due = match row.due_at {
        INFINITY => "never",
        at if at <= now + SECOND => "now",
        _ => "later",
    };
    format!(
        "lane {} {} k{} {} {} {due} {} {} {} {} {} {} {} {} {} {} {}",
        row.webhook,
        row.lane,
        row.key,
        or_dash(row.stripe),
        row.position,
        or_dash(row.wait.map(|wait| wait / SECOND)),
        or_dash(row.token),
        or_dash(row.claimed_by),
        row.generation,
        or_dash(row.head),
        or_dash(row.batch_last),
        or_dash(row.batch_count),
        or_dash(row.split_until),
        row.failures,
        row.halted,
        or_dash(row.error),
    )
}
