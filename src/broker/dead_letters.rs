//! The use cases of dead letters: list, count, read.

use super::{Broker, BrokerError};
use crate::domain::{
    dead_letter::{DeadLetter, DeadLetterDetail, DeadLetterFilter},
    page::{Items, Page},
};

impl Broker {
    /// A page of dead letters, newest first.
    pub async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<Items<DeadLetter>, BrokerError> {
        let dead_letters = self.store.list_dead_letters(filter, page).await?;
        Ok(Items::full(dead_letters, page, |dead_letter| dead_letter.id))
    }

    /// How many dead letters there are. The count is exact.
    pub async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<i64, BrokerError> {
        Ok(self.store.count_dead_letters(filter).await?)
    }

    /// A dead letter with its message's payload and headers.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is no such dead letter.
    pub async fn get_dead_letter(&self, id: i64) -> Result<DeadLetterDetail, BrokerError> {
        let found = self.store.get_dead_letter(id).await?;
        found.ok_or_else(|| BrokerError::NotFound(format!("there is no dead letter {id}")))
    }
}
