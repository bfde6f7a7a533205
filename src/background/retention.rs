//! Messages, dead letters, jobs and the audit log past their retention.

use std::time::{Duration, Instant};

use tracing::info;

use super::{
    piece::{Done, Piece},
    sweep::Sweep,
};
use crate::{
    config::RetentionConfig,
    store::{LeaderStore, StoreError},
};

/// Every sixtieth run, so once an hour, a sweep over all messages begins. It finds those whose
/// topic is gone, and those whose `created_at` does not rise with their ids.
const ALL_MESSAGES_EVERY: u32 = 60;

/// How long one sweep may go on in one run. The next run goes on where it has stopped.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);

/// Deletes what is past its retention.
pub(super) struct Retention {
    settings: RetentionConfig,
    number: u32,
    /// Over the old messages. It begins anew when it has ended.
    old: Sweep,
    /// Over all messages, while there is one.
    all: Option<Sweep>,
}

impl Retention {
    pub(super) fn new(settings: RetentionConfig) -> Self {
        Self { settings, number: 0, old: Sweep::of_old_messages(), all: None }
    }

    /// Goes on with a sweep for one run. Returns it as it stands then.
    async fn go_on(&self, steps: &LeaderStore, mut sweep: Sweep) -> Result<Sweep, StoreError> {
        let begun = Instant::now();
        sweep.begin_round();
        while sweep.goes_on() && begun.elapsed() < SWEEP_LIMIT {
            let portion = steps.delete_old_messages(sweep.after(), self.settings.messages_days).await?;
            sweep.note(portion);
        }
        Ok(sweep)
    }
}

impl Piece for Retention {
    const NAME: &'static str = "retention";
    const EVERY: Duration = Duration::from_mins(1);

    async fn run(&mut self, steps: &LeaderStore) -> Result<Done, StoreError> {
        self.number = self.number.wrapping_add(1);
        let mut expired = 0;
        if self.settings.dead_letters_days > 0 {
            expired = steps.delete_old_dead_letters(self.settings.dead_letters_days).await?;
            if expired > 0 {
                info!(expired, "deleted dead letters past their retention");
            }
        }
        expired += steps.delete_old_jobs().await? + steps.delete_old_changes().await?;
        if self.number.is_multiple_of(ALL_MESSAGES_EVERY) && self.all.is_none() {
            self.all = Some(Sweep::of_all_messages());
        }
        let old = self.go_on(steps, self.old).await?;
        let mut deleted = old.deleted();
        self.old = if old.has_ended() { Sweep::of_old_messages() } else { old };
        if let Some(all) = self.all {
            let all = self.go_on(steps, all).await?;
            deleted += all.deleted();
            self.all = Some(all).filter(|all| !all.has_ended());
        }
        if deleted > 0 {
            info!(deleted, "deleted messages past their retention, or of topics that are gone");
        }
        Ok(Done { did: expired + deleted, ..Done::default() })
    }
}
