//! Tail reads: when they are made, and what is done with their answers.

use std::{collections::HashMap, time::Instant};

use super::{
    command::Command,
    failure::Failure,
    lane::{Owes, Phase},
    state::Engine,
    tail::{ASK_EACH, Look, TailRead},
    troubles::Kind,
};
use crate::{domain::lane::LaneKey, store::LaneNews};

/// What was published to one partition. Its lanes have the same number (`LaneKey::lane`) for all
/// webhooks.
#[derive(Default)]
struct Published {
    /// The last message's id.
    latest: i64,
    /// For how many webhooks this worker holds the lane.
    held: usize,
    /// How many deliverable webhooks the topic has; 0 if no lane is held.
    webhooks: usize,
}

impl Engine {
    /// Starts a tail read. If one is under way, another one follows it.
    pub(super) fn read_tail(&mut self, look: Look, now: Instant) {
        if let Some(TailRead { after, missing }) = self.tail.begin(look, now) {
            self.commands.push(Command::ReadTail { after, missing });
        }
    }

    /// A tail read was answered. The first one says nothing about earlier messages: then all idle
    /// lanes are asked.
    pub(super) fn on_tail_read(&mut self, news: Result<Vec<LaneNews>, Failure>, now: Instant) {
        let Some(ended) = self.tail.end(news.as_deref().ok(), now) else { return };
        match news {
            Ok(news) => {
                self.troubles.succeeded(Kind::ReadTail);
                if ended.first {
                    self.read_idle(now);
                } else {
                    self.on_published(&news, ended.look, now);
                }
            }
            Err(failure) => {
                self.troubles.failed(Kind::ReadTail, &failure, now);
            }
        }
        if ended.look == Look::Alone {
            self.look_answered(ended.asked, now);
        }
        if let Some(look) = ended.again {
            self.read_tail(look, now);
        }
    }

    /// Whether a poll may make a tail read instead of a claim. It may if this worker is the only
    /// one, tail reads tell of everything, and lately there was no lane to claim. Sweeps find what
    /// becomes due in other ways.
    pub(super) fn tail_suffices(&self, now: Instant) -> bool {
        self.wakeup.polling(now)
            && self.idle.len() > ASK_EACH
            && self.tail.tells_since(now, now)
            && self.claims.find_nothing(now)
            && self.session.newcomer.is_none()
    }

    /// These messages were published. Some may be for lanes that this worker does not hold.
    fn on_published(&mut self, news: &[LaneNews], look: Look, now: Instant) {
        if news.is_empty() {
            return;
        }
        let mut latest: HashMap<i64, Published> = HashMap::new();
        for LaneNews { message_id, lane, .. } in news {
            let published = latest.entry(*lane).or_default();
            published.latest = published.latest.max(*message_id);
        }
        let mut webhooks: HashMap<&str, usize> = HashMap::new();
        for endpoint in self.endpoints.values().filter(|endpoint| endpoint.deliverable) {
            *webhooks.entry(&endpoint.topic).or_default() += 1;
        }
        let mut to_read: Vec<LaneKey> = Vec::new();
        for lane in self.lanes.values_mut() {
            let Some(published) = latest.get_mut(&lane.key.lane) else { continue };
            match lane.owes(published.latest) {
                Owes::ReadNow => to_read.push(lane.key),
                Owes::Removal => self.pending.hurry(),
                Owes::ReadLater | Owes::Known | Owes::TakenIn => {}
            }
            // In these phases the lane's row may be gone or given back already: the lane does not
            // count as held.
            if let Some(endpoint) = self.endpoints.get(&lane.key.webhook_id)
                && endpoint.deliverable
                && !matches!(lane.phase(), Phase::Leaving | Phase::Removing)
            {
                published.held += 1;
                published.webhooks = webhooks.get(endpoint.topic.as_str()).copied().unwrap_or_default();
            }
        }
        // Some lane is not held, so there may be one to claim. There is none if a filter does not
        // match, or if the lane waits or is halted.
        if latest.values().any(|published| published.held == 0 || published.held < published.webhooks) {
            self.claims.found(now);
            if look == Look::Alone {
                self.claims.look();
            }
        }
        to_read.sort_unstable();
        for key in to_read {
            self.read_now(key, now);
        }
    }
}
