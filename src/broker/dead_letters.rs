//! The use cases of dead letters: list, count, read.

use super::{Broker, BrokerError};
use crate::domain::{
    dead_letter::{DeadLetter, DeadLetterDetail, DeadLetterFilter},
    page::{Items, List, PageRequest},
};

impl Broker {
    /// A page of the dead letters that the caller may see, newest first.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if the filter names a topic or a webhook that does not exist.
    pub async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: PageRequest,
    ) -> Result<Items<DeadLetter>, BrokerError> {
        let page = page.of(List::DeadLetters)?;
        self.find_filtered(filter).await?;
        let dead_letters = self.store.list_dead_letters(filter, &self.scope, page).await?;
        Ok(Items::full(dead_letters, page, |dead_letter| dead_letter.id))
    }

    /// How many dead letters there are that the caller may see. The count is exact.
    ///
    /// # Errors
    /// As [`Broker::list_dead_letters`].
    pub async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<i64, BrokerError> {
        self.find_filtered(filter).await?;
        Ok(self.store.count_dead_letters(filter, &self.scope).await?)
    }

    /// A dead letter with its message's payload and headers.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such dead letter.
    pub async fn get_dead_letter(&self, id: i64) -> Result<DeadLetterDetail, BrokerError> {
        let found = self.store.get_dead_letter(id).await?;
        let found = found.filter(|detail| self.scope.contains(&detail.dead_letter.topic));
        found.ok_or_else(|| BrokerError::NotFound(format!("there is no dead letter {id}")))
    }

    /// Checks that what a filter names exists for the caller. Otherwise a typing error would look
    /// like an empty list.
    async fn find_filtered(&self, filter: &DeadLetterFilter) -> Result<(), BrokerError> {
        if let Some(topic) = &filter.topic {
            self.find_topic(topic).await?;
        }
        if let Some(id) = filter.webhook_id {
            self.find_webhook(&id.into()).await?;
        }
        Ok(())
    }
}
