//! What an engine must know of webhooks: how that is read, and told.

use std::{collections::BTreeSet, rc::Rc, sync::Arc, time::Duration};

use pgtopic::{
    domain::{
        breaker::{BreakerPolicy, BreakerRow},
        policy::Policy,
    },
    worker::engine::event::{Endpoint, LoadedWebhooks},
};

use super::{
    burst::LiveEndpoint,
    clock::duration,
    driver::{Driver, Incoming},
    plan::Kind,
    queries::sent,
};
use crate::{
    functions::is_held::held_for,
    postgres::tables::{Breaker, Topic, Webhook},
    schedule::{Micros, SECOND},
};

/// All webhooks, for how much longer some of them are held, and the breakers.
pub(super) struct Read {
    endpoints: Vec<(i64, Endpoint)>,
    held: Vec<(i64, Duration)>,
    breakers: Vec<BreakerRow>,
}

impl Driver {
    /// Reads all webhooks; those that have changed are told to the engine.
    pub(super) fn load_webhooks(&self) {
        let (world, process, mailbox) = (self.world.clone(), self.process, self.mailbox.clone());
        self.world.spawn(process, async move {
            let read = world.call(process, Kind::Other, async |session| {
                let statement = session.statement().await?;
                let now = session.statement_at();
                let webhooks = statement.read(|view| {
                    let all = view.range::<Webhook>(..).map(|(_, webhook)| webhook);
                    let topics = all.filter(|webhook| view.get::<Topic>(&webhook.topic).is_some());
                    let row = |webhook: &Webhook| {
                        (webhook.id, webhook.topic, sent(view, webhook), held_for(webhook, now))
                    };
                    topics.map(row).collect::<Vec<_>>()
                });
                let statement = session.statement().await?;
                let now = session.clock();
                let breakers = statement.read(|view| {
                    view.range::<Breaker>(..).map(|(_, row)| listed(row, now)).collect::<Vec<_>>()
                });
                Ok((webhooks, breakers))
            });
            let read = read.await.map_err(super::calls::CallError::failure);
            let loaded = read.map(|(rows, breakers)| {
                let hooks = world.hooks.borrow();
                let breaker = if world.plan.breakers { BreakerPolicy::Auto } else { BreakerPolicy::Off };
                let held = rows.iter().filter_map(|(id, .., left)| Some((*id, duration((*left)?)))).collect();
                let endpoint = |(id, topic, deliverable, _): (i64, i64, bool, Option<Micros>)| {
                    let hook = hooks.get(&id)?;
                    Some((id, endpoint(topic, deliverable, hook.batch_size, hook.policy.clone(), breaker)))
                };
                let mut endpoints: Vec<_> = rows.into_iter().filter_map(endpoint).collect();
                endpoints.extend(world.strangers());
                Read { endpoints, held, breakers }
            });
            mailbox.push(Incoming::Webhooks(loaded));
        });
    }

    pub(super) fn apply(&mut self, read: Read) -> LoadedWebhooks {
        let Read { endpoints: webhooks, held, breakers } = read;
        let mut loaded = LoadedWebhooks { held, breakers, ..LoadedWebhooks::default() };
        let ids: BTreeSet<i64> = webhooks.iter().map(|(id, _)| *id).collect();
        let gone: Vec<i64> = self.endpoints.keys().filter(|id| !ids.contains(id)).copied().collect();
        for id in gone {
            if let Some((_, live)) = self.endpoints.remove(&id) {
                live.stopped.set(true);
            }
            self.knowledge.borrow_mut().hooks_off.insert(id, self.world.now());
            loaded.removed.push(id);
            loaded.deleted = true;
        }
        for (id, endpoint) in webhooks {
            let old = self.endpoints.get(&id);
            // What the engine has stopped itself is told again.
            let is_new =
                old.is_none_or(|(old, live)| *old != endpoint || live.stopped.get() == endpoint.deliverable);
            if !is_new {
                continue;
            }
            let stopped = old.map(|(_, live)| Rc::clone(&live.stopped)).filter(|stopped| !stopped.get());
            let live =
                LiveEndpoint { timeout: endpoint.policy.timeout, stopped: stopped.unwrap_or_default() };
            if endpoint.deliverable {
                self.knowledge.borrow_mut().hooks_off.remove(&id);
            } else {
                live.stopped.set(true);
                self.knowledge.borrow_mut().hooks_off.insert(id, self.world.now());
            }
            loaded.changed.insert(id, Arc::new(endpoint.clone()));
            self.endpoints.insert(id, (endpoint, Rc::new(live)));
        }
        loaded
    }
}

/// What the engine must know of a webhook.
pub(super) fn endpoint(
    topic: i64,
    deliverable: bool,
    batch_size: usize,
    policy: Policy,
    breaker: BreakerPolicy,
) -> Endpoint {
    let topic = format!("topic {topic}");
    Endpoint { topic, deliverable, batch_size, policy, rate_limit_per_second: None, breaker }
}

/// As `breakers/list_changed`.
fn listed(row: &Breaker, now: Micros) -> BreakerRow {
    BreakerRow {
        webhook_id: row.webhook,
        open: row.open,
        epoch: row.epoch,
        suspected: row.suspected_at.is_some_and(|at| at > now - 11 * SECOND),
        wakes: row.wake_after.is_some(),
    }
}
