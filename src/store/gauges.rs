//! What is told of the database at a scrape.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{Store, error::StoreError, statement::sql, word};
use crate::domain::gauges::{GaugeValue, GaugeWord, Gauges};

impl Store {
    /// Reads the gauges. Of messages, deliveries, lanes and dead letters it reads samples alone. The
    /// cost grows with the number of webhooks, and with nothing else.
    pub async fn get_gauges(&self) -> Result<Gauges, StoreError> {
        let values = self.query(sql!("metrics/list_values"), &[]).await?;
        let nothing = || StoreError::Unexpected("no row of metrics".to_owned());
        Ok(Gauges {
            read_at: values.first().ok_or_else(nothing)?.try_get::<_, Timestamp>("read_at")?,
            values: values.iter().map(value).collect::<Result<_, _>>()?,
            workers: self.list_workers().await?.into_iter().map(|worker| worker.state).collect(),
            webhooks: self.list_webhook_figures().await?,
        })
    }
}

fn value(row: &Row) -> Result<GaugeValue, StoreError> {
    Ok(GaugeValue {
        word: word(row, "word", GaugeWord::parse)?,
        of: row.try_get("of")?,
        value: row.try_get("value")?,
    })
}
