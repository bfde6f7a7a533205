//! The use cases of dead letters: list, count, group, read, replay, discard.

use super::{Broker, BrokerError, Conflict};
use crate::domain::{
    dead_letter::{DeadLetter, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, GROUPED_MAX},
    delivery::Delivery,
    operation::{DiscardOutcome, ReplayOutcome},
    page::{Items, List, PageRequest},
};

/// The most groups of dead letters that are shown.
const GROUPS_SHOWN: i64 = 1000;

impl Broker {
    /// A page of the dead letters that the caller may see, newest first.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if the filter names a topic or a webhook that does not exist,
    /// [`BrokerError::Invalid`] if it names something that no dead letter can have.
    pub async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: PageRequest,
    ) -> Result<Items<DeadLetter>, BrokerError> {
        let page = page.of(List::DeadLetters)?;
        self.check_dead_letter_filter(filter).await?;
        Ok(self.store.list_dead_letters(filter, &self.scope, page).await?)
    }

    /// How many dead letters there are that the caller may see. The count is exact.
    ///
    /// # Errors
    /// As [`Broker::list_dead_letters`].
    pub async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<i64, BrokerError> {
        self.check_dead_letter_filter(filter).await?;
        Ok(self.store.count_dead_letters(filter, &self.scope).await?)
    }

    /// The dead letters that the caller may see, by webhook, reason, failure and hour: at most
    /// 1,000 groups, the newest hour first. Of each webhook the newest 10,000 are looked at.
    ///
    /// # Errors
    /// As [`Broker::list_dead_letters`].
    pub async fn list_dead_letter_groups(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetterGroup>, BrokerError> {
        self.check_dead_letter_filter(filter).await?;
        Ok(self.store.list_dead_letter_groups(filter, &self.scope, GROUPED_MAX, GROUPS_SHOWN).await?)
    }

    /// A dead letter with its message's payload and headers.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such dead letter.
    pub async fn get_dead_letter(&self, id: i64) -> Result<DeadLetterDetail, BrokerError> {
        let found = self.store.get_dead_letter(id).await?;
        let found = found.filter(|detail| self.scope.contains(&detail.dead_letter.topic));
        found.ok_or_else(|| no_dead_letter(id))
    }

    /// Delivers a dead letter once more. Returns the delivery, which is owed again. Filter and types
    /// of the webhook do not count. A halted lane stays halted.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such dead letter. [`BrokerError::Conflict`] if the
    /// message is owed already or was deleted, or if somebody holds the partition.
    pub async fn replay_dead_letter(&self, id: i64) -> Result<Delivery, BrokerError> {
        let letter = self.get_dead_letter(id).await?.dead_letter;
        let before = self.store.get_delivery(letter.webhook_id, letter.message_id).await?;
        let replayed = self.store.replay_dead_letters(&[id], true).await?;
        let outcome = replayed.first().map_or(ReplayOutcome::Absent, |replayed| replayed.outcome);
        match outcome {
            ReplayOutcome::Absent => Err(no_dead_letter(id)),
            outcome => {
                let webhook = self.find_webhook(&letter.webhook_id.into()).await?;
                self.replayed(&webhook, letter.message_id, outcome, before).await
            }
        }
    }

    /// Deletes a dead letter. Its message is never delivered.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such dead letter, [`BrokerError::Conflict`] if
    /// somebody replays or discards it now.
    pub async fn discard_dead_letter(&self, id: i64) -> Result<(), BrokerError> {
        self.get_dead_letter(id).await?;
        let discarded = self.store.discard_dead_letters(&[id]).await?;
        match discarded.first() {
            Some((_, DiscardOutcome::Discarded)) => Ok(()),
            Some((_, DiscardOutcome::RowLocked)) => Err(BrokerError::conflict(
                Conflict::State,
                format!("somebody else replays or discards dead letter {id} now; try again in a moment"),
            )),
            Some((_, DiscardOutcome::Absent)) | None => Err(no_dead_letter(id)),
        }
    }

    /// Checks a filter, and that what it names exists for the caller. Otherwise a typing error would
    /// look like an empty list.
    ///
    /// # Errors
    /// As [`Broker::list_dead_letters`].
    pub(super) async fn check_dead_letter_filter(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<(), BrokerError> {
        filter.check()?;
        if let Some(topic) = &filter.topic {
            self.find_topic(topic).await?;
        }
        if let Some(id) = filter.webhook_id {
            self.find_webhook(&id.into()).await?;
        }
        Ok(())
    }
}

fn no_dead_letter(id: i64) -> BrokerError {
    BrokerError::NotFound(format!("there is no dead letter {id}"))
}
