//! `matching_webhooks`: the webhooks that are owed a message.

use crate::postgres::{error::Result, session::Session, tables::Webhook};

pub(super) async fn matching_webhooks(session: &Session, topic: i64, kind: Option<u8>) -> Result<Vec<i64>> {
    let statement = session.statement().await?;
    Ok(statement.read(|view| {
        let all = view.range::<Webhook>(..).map(|(_, webhook)| webhook);
        all.filter(|webhook| webhook.topic == topic && (webhook.types.is_none() || webhook.types == kind))
            .map(|webhook| webhook.id)
            .collect()
    }))
}
