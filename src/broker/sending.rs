//! The use cases of sending: read whether anything is sent, switch it on or off.

use super::{Broker, BrokerError};
use crate::domain::sending::{NotSending, SendingChange, SendingStatus};

impl Broker {
    /// The processes of this broker are started paused: they send nothing until somebody switches
    /// sending on.
    #[must_use]
    pub fn starting_paused(self, start_paused: bool) -> Self {
        Self { start_paused, ..self }
    }

    /// Whether anything is sent from here, who said so and why; and why nothing is sent, if so.
    ///
    /// # Errors
    /// None of its own.
    pub async fn get_sending(&self) -> Result<(SendingStatus, Option<NotSending>), BrokerError> {
        let status = self.store.get_sending().await?;
        let why_not = status.switch.why_not(self.start_paused);
        Ok((status, why_not))
    }

    /// Switches sending on or off, for all workers. Requests under way finish.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if the reason is too long.
    pub async fn set_sending(
        &self,
        change: &SendingChange,
    ) -> Result<(SendingStatus, Option<NotSending>), BrokerError> {
        change.check()?;
        self.store.set_sending(change, &self.actor).await?;
        self.get_sending().await
    }
}
