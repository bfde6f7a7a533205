//! Who is logged in to the console.

use std::time::Duration;

use super::{Store, error::StoreError, statement::sql};

impl Store {
    /// Logs somebody in. `hash` names the session, `token` is the digest of a token.
    pub async fn create_login(
        &self,
        hash: &[u8; 32],
        token: &[u8; 32],
        lasts: Duration,
    ) -> Result<(), StoreError> {
        let parameters: super::Parameters<'_> = &[&hash.as_slice(), &token.as_slice(), &lasts.as_secs_f64()];
        self.execute(sql!("sessions/create"), parameters).await?;
        Ok(())
    }

    /// The digest of the token of a session; `None` if there is no such session.
    pub async fn find_login(&self, hash: &[u8; 32]) -> Result<Option<[u8; 32]>, StoreError> {
        let Some(row) = self.query_opt(sql!("sessions/find"), &[&hash.as_slice()]).await? else {
            return Ok(None);
        };
        // A check of the table says that there are 32 bytes.
        Ok(row.try_get::<_, &[u8]>(0)?.try_into().ok())
    }

    /// Logs somebody out.
    pub async fn delete_login(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        self.execute(sql!("sessions/delete"), &[&hash.as_slice()]).await?;
        Ok(())
    }
}
