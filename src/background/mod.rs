//! Background work: what one worker, the leader, does for all.
//!
//! Every worker runs [`run`] beside its engine, and one of them leads. The right to lead is a row in
//! the table `leader`, with a term that rises with each leader. Another worker takes the lead as
//! soon as the leader's worker is gone or not registered. Each step is one transaction that first
//! locks that row and checks the term ([`LeaderStore`]). So a step of an old leader does nothing.
//!
//! The work consists of pieces. Each piece runs again and again, beside the others, while this
//! worker leads. To add one, implement `piece::Piece` and start it in `lead`. The table
//! `background_runs` says what each piece did last, and when.
//!
//! | file | what it is about |
//! |---|---|
//! | `piece` | how a piece is repeated, and what is noted of it |
//! | `jobs` | long operations that operators ask for |
//! | `partitions` | partitions of the attempt log: those to come, those past their retention |
//! | `retention` | messages, dead letters, jobs and the audit log past their retention |
//! | `sweep` | how far retention has walked through the messages |
//! | `orphans` | rows of webhooks that were deleted |
//! | `samples` | what webhooks are owed and how they do |
//! | `expiry` | messages that are too old for their webhooks |
//! | `overflow` | webhooks that are owed more than they may be |
//! | `activity` | activity that grows old |
//! | `events` | changes of state that are published |
//! | `arrivals` | messages that arrived without being published here |

mod activity;
mod arrivals;
mod events;
mod expiry;
mod jobs;
mod orphans;
mod overflow;
mod partitions;
mod piece;
mod retention;
mod samples;
mod sweep;

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, task::JoinSet};
use tracing::{debug, info};
use uuid::Uuid;

use self::{
    activity::Activity, arrivals::Arrivals, events::Events, expiry::Expiry, jobs::Jobs, orphans::Orphans,
    overflow::Overflow, partitions::Partitions, piece::repeat, retention::Retention, samples::Samples,
};
use crate::{
    config::RetentionConfig,
    store::{Lead, LeaderStore, Store},
};

/// The pause between two tries to take the lead, and between two looks at whether it is lost.
const LOOK: Duration = Duration::from_secs(1);

/// Does the background work whenever this worker leads; never returns. `webhook_deleted` wakes the
/// clearing of orphans.
pub async fn run(store: Store, worker: Uuid, retention: RetentionConfig, webhook_deleted: Arc<Notify>) {
    loop {
        match store.take_lead(worker).await {
            Ok(Some(right)) => {
                info!(worker = %worker, term = right.term, "this worker leads: it does the background work");
                lead(&store.lead(right), &retention, &webhook_deleted).await;
                info!(worker = %worker, term = right.term, "this worker leads no more");
            }
            Ok(None) => {}
            // It is tried again soon. If the database is gone, the session notices it.
            Err(error) => debug!(%error, "could not ask who leads"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Runs all pieces until the lead is lost.
async fn lead(steps: &LeaderStore, retention: &RetentionConfig, webhook_deleted: &Arc<Notify>) {
    let mut tasks = JoinSet::new();
    tasks.spawn(keep(steps.store().clone(), steps.lead()));
    tasks.spawn(repeat(steps.clone(), Partitions::new(retention.attempts_days)));
    tasks.spawn(repeat(steps.clone(), Retention::new(retention.clone())));
    tasks.spawn(repeat(steps.clone(), Jobs::new(retention)));
    tasks.spawn(repeat(steps.clone(), Orphans::new(Arc::clone(webhook_deleted))));
    tasks.spawn(repeat(steps.clone(), Arrivals::default()));
    tasks.spawn(repeat(steps.clone(), Expiry));
    tasks.spawn(repeat(steps.clone(), Overflow::default()));
    tasks.spawn(repeat(steps.clone(), Events::default()));
    tasks.spawn(repeat(steps.clone(), Samples));
    tasks.spawn(repeat(steps.clone(), Activity::new(retention.activity_days)));
    first_end(tasks).await;
}

/// Waits until one of the tasks ends. If it panicked, this panics, too: a defect must not be taken
/// for a lost lead. The other tasks end with it.
async fn first_end(mut tasks: JoinSet<()>) {
    if let Some(Err(ended)) = tasks.join_next().await
        && let Ok(panic) = ended.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Returns when this lead is lost.
async fn keep(store: Store, lead: Lead) {
    loop {
        tokio::time::sleep(LOOK).await;
        match store.take_lead(lead.worker).await {
            Ok(now) if now != Some(lead) => return,
            Err(error) if error.is_not_registered() => return,
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_piece_that_panics_is_no_lost_lead() {
        let mut tasks = JoinSet::new();
        tasks.spawn(std::future::pending());
        tasks.spawn(async { panic!("on purpose") });
        let ended = tokio::spawn(first_end(tasks)).await;
        assert!(ended.unwrap_err().is_panic());
        let mut tasks = JoinSet::new();
        tasks.spawn(std::future::pending());
        tasks.spawn(async {});
        tokio::spawn(first_end(tasks)).await.unwrap();
    }
}
