//! What workers of a script call: claims, settles, reads and removals, by what they have learnt.

use super::{
    action::Call,
    generate::Generator,
    model::{Learnt, Model},
};
use crate::{
    functions::{
        claim_lanes::Claim,
        claim_messages::Told,
        read_lanes::Held,
        settle::{Becomes, Outcome, Settlement},
    },
    postgres::tables::{Delivery, Lane, Reason, Webhook},
    schedule::SECOND,
};

impl Generator {
    pub(super) fn claim(&mut self, model: &Model) -> Call {
        let worker = self.worker();
        let webhooks: Vec<i64> =
            model.database.peek(|view| view.range::<Webhook>(..).map(|(_, row)| row.id).collect());
        let claim = Claim {
            worker,
            token: self.token(worker),
            webhooks: webhooks.into_iter().map(|webhook| (webhook, self.random.pick(&[1, 2, 10]))).collect(),
            due_after: Vec::new(),
            sweep: self.random.once_in(4),
            messages_per_lane: self.random.pick(&[0, 1, 3]),
        };
        if self.random.once_in(4) { Call::ClaimSingly(claim) } else { Call::Claim(claim) }
    }

    pub(super) fn told(&mut self, model: &Model) -> Call {
        let worker = self.worker();
        let last = model.database.state().sequences.message_ids.last();
        let messages =
            (0..=self.random.below(3)).map(|_| last - i64::try_from(self.random.below(5)).unwrap_or(0));
        Call::ClaimMessages(Told {
            messages: messages.collect(),
            token: self.token(worker),
            worker,
            full_webhooks: if self.random.once_in(4) { vec![1] } else { Vec::new() },
            lanes_at_most: self.random.pick(&[1, 10]),
            messages_per_lane: self.random.pick(&[1, 3]),
        })
    }

    pub(super) fn token(&mut self, worker: u32) -> i64 {
        let token = &mut self.tokens[worker as usize];
        *token = *token % 3 + 1;
        *token
    }

    /// A worker that is often registered.
    pub(super) fn worker(&mut self) -> u32 {
        1 + u32::from(self.random.once_in(2)) + u32::from(self.random.once_in(12))
    }

    /// Lanes that a worker holds, as far as it knows, in primary-key order.
    pub(super) fn held(&mut self) -> (u32, Vec<Held>) {
        let recent = self.recent();
        let worker = recent.first().map_or(1, |learnt| learnt.worker);
        (worker, recent.iter().map(as_held).collect())
    }

    /// The same; often lanes that owe nothing.
    pub(super) fn idle_lanes(&mut self, model: &Model) -> (u32, Vec<Held>) {
        let (worker, mut held) = self.held();
        if self.random.once_in(4) {
            return (worker, held);
        }
        let idle = |held: &Held, lane: &Lane, owed: Option<i64>| {
            lane.claimed_by.is_some() && owed.is_none_or(|first| first <= held.position.max(lane.position))
        };
        let known = self.known.iter().rev().filter(|learnt| learnt.worker == worker);
        held.extend(known.take(6).map(as_held));
        held.sort_by_key(|held| (held.webhook, held.lane, -held.token));
        held.dedup_by_key(|held| (held.webhook, held.lane));
        model.database.peek(|view| {
            held.retain(|held| {
                let keys = (held.webhook, held.lane, i64::MIN)..=(held.webhook, held.lane, i64::MAX);
                let owed = view.range::<Delivery>(keys).next().map(|(_, row)| row.message);
                view.get::<Lane>(&(held.webhook, held.lane)).is_some_and(|lane| idle(held, lane, owed))
            });
        });
        (worker, held)
    }

    /// What one worker has learnt lately of up to three lanes.
    pub(super) fn recent(&mut self) -> Vec<Learnt> {
        let from = self.known.len().saturating_sub(8);
        if self.known.is_empty() {
            return Vec::new();
        }
        // The newest half of the time, an older one otherwise: that may be out of date.
        let back = if self.random.once_in(2) { 0 } else { self.random.below(self.known.len() - from) };
        let first = self.known[self.known.len() - 1 - back].clone();
        let worker = first.worker;
        let mut lanes = vec![first];
        let others = self.known[from..].iter().rev().filter(|learnt| learnt.worker == worker);
        lanes.extend(others.take(self.random.below(3)).cloned());
        lanes.sort_by_key(|learnt| (learnt.lane.webhook, learnt.lane.lane));
        lanes.dedup_by_key(|learnt| (learnt.lane.webhook, learnt.lane.lane));
        lanes
    }

    pub(super) fn settle(&mut self, model: &Model) -> Call {
        let recent = self.recent();
        let worker = recent.first().map_or(1, |learnt| learnt.worker);
        let mut settlement = Settlement { worker, lanes: Vec::new(), done: Vec::new(), dead: Vec::new() };
        for (number, learnt) in recent.iter().enumerate() {
            let owed: Vec<i64> = model.database.peek(|view| {
                let keys = (learnt.lane.webhook, learnt.lane.lane, i64::MIN)
                    ..=(learnt.lane.webhook, learnt.lane.lane, i64::MAX);
                view.range::<Delivery>(keys).map(|(_, row)| row.message).collect()
            });
            let sent = if learnt.messages.is_empty() { owed } else { learnt.messages.clone() };
            self.settle_lane(&mut settlement, number, learnt, &sent);
        }
        if self.mode.breakers {
            self.set_epochs(model, &mut settlement);
        }
        if self.random.once_in(10) {
            settlement.worker = 3 - settlement.worker.min(2);
        }
        Call::Settle(settlement)
    }

    fn settle_lane(&mut self, settlement: &mut Settlement, number: usize, learnt: &Learnt, sent: &[i64]) {
        let all = [Becomes::Untouched, Becomes::Held, Becomes::Ready, Becomes::Waiting, Becomes::Halted];
        let becomes = self.random.pick(&all);
        let all = self.random.once_in(2);
        let done = if all { sent.len() } else { self.random.below(sent.len() + 1) };
        let mut position = learnt.lane.position;
        for message in &sent[..done] {
            settlement.done.push((number, *message));
            position = *message;
        }
        let mut next = done;
        if becomes == Becomes::Ready
            && self.random.once_in(2)
            && let Some(message) = sent.get(next)
        {
            settlement.dead.push((number, *message, 3, Reason::AttemptsExhausted));
            position = *message;
            next += 1;
        }
        let failed = matches!(becomes, Becomes::Waiting | Becomes::Halted);
        let head = if failed { sent.get(next).copied() } else { None };
        let batch = if head.is_some() && self.random.once_in(4) { sent.get(next + 1).copied() } else { None };
        settlement.lanes.push(Outcome {
            webhook: learnt.lane.webhook,
            lane: learnt.lane.lane,
            token: learnt.lane.token.unwrap_or(0),
            becomes,
            generation: learnt.lane.generation,
            position,
            delay: 3600 * SECOND,
            head,
            failures: i32::from(failed) * 2,
            batch_last: batch,
            batch_count: batch.map(|_| 2),
            split_until: None,
            error: (failed || next > done).then_some(503),
            epoch: (failed && position % 2 == 0).then_some(0),
        });
    }
}

fn as_held(learnt: &Learnt) -> Held {
    Held {
        webhook: learnt.lane.webhook,
        lane: learnt.lane.lane,
        token: learnt.lane.token.unwrap_or(0),
        position: learnt.messages.first().map_or(learnt.lane.position, |first| first - 1),
        generation: learnt.lane.generation,
    }
}
