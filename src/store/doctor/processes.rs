//! Workers, and their leader.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use crate::{
    domain::{
        doctor::{LeaderFacts, PieceFacts, Settings, WorkerSeen, WorkersSeen},
        scope::TopicScope,
    },
    store::{Store, error::StoreError, statement::sql},
};

/// How many workers are looked at.
const WORKERS_SEEN: i64 = 1000;
/// How many topics are looked at.
const TOPICS_SEEN: i64 = 1000;

impl Store {
    /// The workers, and what they have to send.
    pub async fn diagnose_workers(&self) -> Result<WorkersSeen, StoreError> {
        let workers = self.ask(sql!("doctor/list_workers"), &[&WORKERS_SEEN]).await?;
        let owing = self.ask(sql!("doctor/list_owing_topics"), &[&TOPICS_SEEN]).await?;
        Ok(WorkersSeen {
            workers: workers.iter().map(worker).collect::<Result<_, _>>()?,
            owing: owing.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?,
        })
    }

    /// The leader, and what it did last.
    pub async fn diagnose_leader(&self) -> Result<LeaderFacts, StoreError> {
        let leader = self.ask(sql!("doctor/get_leader"), &[]).await?;
        let pieces = self.ask(sql!("doctor/list_runs"), &[]).await?;
        let piece = |row: &Row| {
            Ok(PieceFacts {
                piece: row.try_get("piece")?,
                finished_at: row.try_get("finished_at")?,
                error: row.try_get("error")?,
            })
        };
        Ok(LeaderFacts {
            leader: leader.first().map(|row| row.try_get("name")).transpose()?,
            since: leader.first().map(|row| row.try_get("since")).transpose()?.flatten(),
            pieces: pieces.iter().map(piece).collect::<Result<_, StoreError>>()?,
        })
    }

    /// These settings, and those of this store that should be the same in all processes.
    pub fn with_own_settings(&self, mut settings: Settings) -> Settings {
        settings.insert("database.source".to_owned(), self.source.to_string());
        let on_copy = if self.sends_on_copy { "send" } else { "pause" };
        settings.insert("database.on_copy".to_owned(), on_copy.to_owned());
        settings
    }
}

fn worker(row: &Row) -> Result<WorkerSeen, StoreError> {
    let settings: BTreeMap<String, serde_json::Value> =
        serde_json::from_value(row.try_get("settings")?).unwrap_or_default();
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(WorkerSeen {
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        settings: settings.into_iter().map(|(name, value)| (name, text(value))).collect(),
        topics: TopicScope::of(row.try_get::<_, Option<Vec<String>>>("topics")?.as_deref()),
        gone: row.try_get("gone")?,
        late: row.try_get("late")?,
        has_session: row.try_get("has_session")?,
        trouble: row.try_get("trouble")?,
    })
}
