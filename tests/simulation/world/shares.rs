//! `share_limits`. Its rows lie beside the model: the function holds the webhook's row, so it runs as
//! one step.

use std::collections::BTreeMap;

use pgtopic::store::{Share, ShareAsk};

use super::{Handle, World};
use crate::{
    functions::require::require_registered,
    postgres::{error::Result as Answered, session::Session, tables::Worker},
};

/// What a worker has of a webhook's `max_in_flight`.
#[derive(Clone, Copy)]
pub(super) struct Row {
    wants: bool,
    slots: usize,
    held: usize,
}

impl Row {
    fn counts(&self) -> usize {
        self.slots.max(self.held)
    }
}

/// By webhook and worker.
pub(super) type Shares = BTreeMap<(i64, u32), Row>;

/// A worker takes its shares.
pub(super) async fn share_limits(
    world: &Handle,
    session: &Session,
    worker: u32,
    asks: &[ShareAsk],
    done: &[i64],
) -> Answered<Vec<Share>> {
    require_registered(session, worker).await?;
    let statement = session.statement().await?;
    let gone = statement.read(|view| {
        let shares = world.shares.borrow();
        let lives = |id: u32| view.get::<Worker>(&id).is_some_and(|worker| !worker.gone);
        shares.keys().filter(|(_, id)| !lives(*id)).copied().collect::<Vec<_>>()
    });
    let mut shares = world.shares.borrow_mut();
    shares.retain(|key, _| !(gone.contains(key) || key.1 == worker && done.contains(&key.0)));
    let share = |ask: &ShareAsk| {
        let limit = world.hooks.borrow().get(&ask.webhook_id)?.policy.max_in_flight? as usize;
        let slots = divide(&mut shares, worker, ask, limit);
        Some(Share { webhook_id: ask.webhook_id, slots: Some(slots), rate: None })
    };
    Ok(asks.iter().filter_map(share).collect())
}

/// As the statement of `share_limits` divides.
fn divide(shares: &mut Shares, worker: u32, ask: &ShareAsk, limit: usize) -> usize {
    let mine = Row { wants: ask.wants, slots: 0, held: ask.slots_held };
    shares.insert((ask.webhook_id, worker), mine);
    let of_webhook = (ask.webhook_id, 0)..=(ask.webhook_id, u32::MAX);
    let mut all: Vec<(u32, Row)> = shares.range(of_webhook).map(|((_, id), row)| (*id, *row)).collect();
    all.sort_by_key(|(id, row)| (!row.wants, usize::MAX - row.counts(), *id));
    let place = all.iter().position(|(id, _)| *id == worker).unwrap_or_default();
    let wanting = all.iter().filter(|(_, row)| row.wants).count();
    let resting = if wanting > 0 { all.len() - wanting } else { 0 };
    let fair = if all.len() >= limit {
        usize::from(place < limit)
    } else if wanting > 0 && !ask.wants {
        1
    } else {
        let (left, sharing) = (limit - resting, all.len() - resting);
        left / sharing + usize::from(place < left % sharing)
    };
    let others = all.iter().filter(|(id, _)| *id != worker).map(|(_, row)| row.counts()).sum();
    let slots = fair.min(limit.saturating_sub(others));
    shares.insert((ask.webhook_id, worker), Row { slots, ..mine });
    slots
}

impl World {
    /// All workers together have no more requests in flight than the webhook's limit.
    pub(super) fn check_in_flight(&self, webhook: i64) {
        let Some(most) = self.hooks.borrow().get(&webhook).and_then(|hook| hook.most_in_flight) else {
            return;
        };
        let in_flight = self.history.borrow().in_flight(webhook, self.now());
        if in_flight > most as usize {
            self.fail(format!("limit: {in_flight} requests to webhook {webhook} at once, {most} may be"));
        }
    }
}
