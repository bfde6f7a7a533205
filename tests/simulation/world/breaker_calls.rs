//! The engine's statements of breakers on the model, and their answers as events.

use std::{collections::BTreeMap, time::Duration};

use pgtopic::{
    domain::breaker::{Opening, TurnEnd, Waking},
    store::{ProbeEnd, ProbeTurn, ReadLimits, TakenProbe},
    worker::engine::{command::Command, event::Event},
};

use super::{
    budget::Budget,
    clock::{duration, micros},
    plan::Kind,
    statements::{Statements, answer, count},
};
use crate::{
    functions::{
        close_breaker::close_breaker,
        end_probe::{Turn, end_probe},
        note_success::note_success,
        open_breaker::{self as sql, Ask, OBJECTION, open_breaker},
        take_probes::{Taken, take_probes},
        wake_lanes::{Woken, wake_lanes},
    },
    postgres::session::Session,
    schedule::SECOND,
};

impl Statements {
    /// `None`: nothing answers.
    pub(super) async fn execute_of_breakers(self, command: Command) -> Option<Event> {
        let (world, worker) = (&self.world, self.worker);
        let event = match command {
            Command::OpenBreaker { webhook_id, epoch, .. } => {
                let ask =
                    Ask { worker, webhook: webhook_id, epoch, objection: OBJECTION, first_probe: SECOND };
                let its = self.world.clone();
                let called = async move |session: &Session| {
                    let before = (its.breaker(webhook_id), its.clock_now());
                    let opening = open_breaker(session, ask).await?;
                    its.check_opened(&ask, &before, opening);
                    Ok(opening)
                };
                let opening =
                    world.call(self.process, Kind::Other, called).await.map(|opening| match opening {
                        sql::Opening::Opened(epoch) => {
                            world.history.borrow_mut().opened(world.now(), webhook_id, epoch);
                            Opening::Opened(epoch)
                        }
                        sql::Opening::Asked => Opening::Asked,
                        sql::Opening::Refused => Opening::Refused,
                        sql::Opening::Outdated(epoch) => Opening::Outdated(epoch),
                        sql::Opening::Off => Opening::Off,
                    });
                Event::BreakerAsked { webhook_id, answer: answer(opening) }
            }
            Command::NoteSuccess(webhooks) => {
                let called = async move |session: &Session| note_success(session, worker, &webhooks).await;
                let _ = world.call(self.process, Kind::Other, called).await;
                return None;
            }
            Command::TakeProbes { token, want, limits } => {
                let timeouts: BTreeMap<i64, Duration> =
                    world.hooks.borrow().iter().map(|(id, hook)| (*id, hook.policy.timeout)).collect();
                let turn = move |webhook: i64| {
                    let timeout = timeouts.get(&webhook).copied().unwrap_or(want.default_timeout);
                    micros(timeout) * 2 + micros(want.spare)
                };
                let its = self.world.clone();
                let called = async move |session: &Session| {
                    let before = its.standing(worker);
                    let taken =
                        take_probes(session, worker, token, want.at_most, turn, count(limits)).await?;
                    let lanes: Vec<_> = taken.iter().map(|probe| probe.lane.clone()).collect();
                    its.check_claimed(worker, &before, true, &lanes);
                    Ok(taken)
                };
                let taken = world.call(self.process, Kind::Claim, called).await;
                for probe in taken.iter().flatten() {
                    let lane = (probe.lane.lane.webhook, probe.lane.lane.lane);
                    let messages = probe.lane.messages.len();
                    world
                        .note(lane, format!("worker {worker} has the turn to probe it: {messages} messages"));
                }
                let mut budget = Budget::new(limits, false);
                let taken = taken.map(|taken| {
                    taken.into_iter().map(|probe| self.probe(&probe, token, limits, &mut budget)).collect()
                });
                Event::ProbesTaken(answer(taken))
            }
            Command::EndProbe { turn, end } => self.end_probe(turn, end).await,
            Command::WakeLanes { webhook_id } => {
                // Few lanes, so that several steps are needed.
                let called = async move |session: &Session| wake_lanes(session, webhook_id, 2).await;
                let woken = world.call(self.process, Kind::Other, called).await.map(|woken| match woken {
                    Woken::More => Waking::More,
                    Woken::Done => Waking::Done,
                    Woken::Nothing => Waking::Nothing,
                });
                Event::LanesWoken { webhook_id, answer: answer(woken) }
            }
            _ => return None,
        };
        Some(event)
    }

    async fn end_probe(&self, turn: ProbeTurn, end: ProbeEnd) -> Event {
        let (world, worker) = (&self.world, self.worker);
        let webhook_id = turn.webhook_id;
        world.note((webhook_id, 0), format!("worker {worker} ends its turn to probe: {end:?}"));
        let turn = Turn { worker, token: turn.token, webhook: webhook_id, epoch: turn.epoch };
        let ended = match end {
            ProbeEnd::Close(_) => {
                let its = self.world.clone();
                let called = async move |session: &Session| {
                    let before = its.breaker(webhook_id);
                    let closed = close_breaker(session, webhook_id, Some(turn)).await?;
                    if closed.is_some() {
                        its.check_turn(&turn, before.as_ref());
                    }
                    Ok(closed)
                };
                let closed = world.call(self.process, Kind::Other, called).await;
                closed.map(|begins| begins.map_or(TurnEnd::Lost, TurnEnd::Closed))
            }
            ProbeEnd::StayOpen { failed, next_in, disable } => {
                let its = self.world.clone();
                let called = async move |session: &Session| {
                    let before = its.breaker(webhook_id);
                    let disables = disable.is_some();
                    let ended = end_probe(session, turn, failed, micros(next_in), disables).await?;
                    if ended {
                        its.check_turn(&turn, before.as_ref());
                    }
                    Ok(ended)
                };
                let ended = world.call(self.process, Kind::Other, called).await;
                ended.map(|ended| if ended { TurnEnd::Ended } else { TurnEnd::Lost })
            }
        };
        Event::ProbeTurnEnded { webhook_id, answer: answer(ended) }
    }

    fn probe(&self, taken: &Taken, token: i64, limits: ReadLimits, budget: &mut Budget) -> TakenProbe {
        TakenProbe {
            lane: self.claimed(&taken.lane, token, limits, budget),
            epoch: taken.epoch,
            failed: u32::try_from(taken.probes).unwrap_or(0),
            open_for: duration(taken.open_for),
            only_lane: taken.only_lane,
            turn: duration(taken.turn),
        }
    }
}
