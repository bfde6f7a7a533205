//! Tools for the tests of pgtopic, its fault suite and its benchmark.
//!
//! - [`TestDatabase`]: an empty, migrated database of the test's own, in milliseconds.
//! - [`TestCluster`]: a PostgreSQL of the test's own, for tests that stop or kill it.
//! - [`TestClock`]: the clock of a PostgreSQL. The test can step it.
//! - [`TestPair`]: a primary and a synchronous standby.
//! - [`TestPooler`]: PgBouncer in front of a server. With `PGTOPIC_TEST_POOLER` set, all tests go
//!   through one.
//! - [`TestReceiver`]: a webhook receiver. It records every request. The test decides its answers.
//! - [`Gate`]: answers that the test holds back.
//! - [`Process`]: the built binary, or another program, running.
//! - [`Broker`]: a worker in the test's own process.
//! - [`Puppet`]: a worker that does only what a test says.
//! - [`TestProxy`]: a TCP link that is cut, slow or dead on demand.
//! - [`blind_claims`]: claims that find nothing, so that something else must find a message.
//! - [`Tally`]: how often the engine has called one of its functions.
//! - [`Stall`]: how long the machine stood still.
//! - [`Load`]: publishers that go on whatever happens.
//! - [`history`]: what happened in a run, and whether it may have happened.
//! - [`Scene`]: a database, a topic, a receiver and webhooks; and [`check_order`] over what
//!   arrived.
//!
//! Nothing in here sleeps for a fixed time: tests wait for what they expect, with a limit.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "what cannot go on panics, and fails its test"
)]
#![allow(clippy::similar_names, reason = "what a receiver received")]

mod blind;
mod broker;
mod clock;
mod database;
mod exposition;
mod gate;
pub mod history;
mod http;
mod load;
mod order;
mod pair;
mod pooler;
mod process;
mod proxy;
mod puppet;
mod receiver;
mod scene;
mod stall;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::{
    blind::{Tally, begin_with, blind_claims, found_by_polls, hide_webhooks, one_arrives, see_again},
    broker::{Broker, quick_delivery},
    clock::TestClock,
    database::{TestCluster, TestDatabase, reach, reach_schema, try_reach_schema},
    exposition::{Exposition, promtool},
    gate::Gate,
    http::{Http, LISTENS, address_in},
    load::Load,
    order::{Expected, check_order},
    pair::TestPair,
    pooler::TestPooler,
    process::{Ended, Process, pgtopic_binary},
    proxy::{Link, TestProxy, Upstream},
    puppet::Puppet,
    receiver::{Answer, Received, TestReceiver, most_at_once},
    scene::{
        LIVING, SECRET, Scene, TOPIC, create_topic, create_webhook, expected, keep_silent, nothing_owed,
        publish, refuse,
    },
    stall::Stall,
};

/// How long anything may take before a test gives up.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Asks again and again until the answer is there. For conditions that nothing signals, such as
/// rows in the database.
pub async fn eventually<T, F>(what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    within_limit(ask).await.unwrap_or_else(|| panic!("waited {LIMIT:?} in vain: {what}"))
}

/// The same, for a caller that has more to say if the answer does not come.
pub async fn within_limit<T, F>(mut ask: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, asking).await.ok()
}
