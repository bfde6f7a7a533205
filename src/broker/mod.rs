//! What pgtopic does for its users and operators: one method for each use case, one file for each
//! noun.
//!
//! The HTTP API calls these methods and nothing below them. A method checks its input, asks the
//! store, and returns types of [`crate::domain`]. If it fails, a [`BrokerError`] says what is
//! wrong, in words for the caller. Nothing here knows HTTP or SQL.
//!
//! Every method fails with [`BrokerError::Unavailable`] if the database cannot serve, and with
//! [`BrokerError::Internal`] if something else goes wrong there. Further errors are named at each
//! method.
//!
//! | file | use cases |
//! |---|---|
//! | `topics` | create, list, read, put, change, pause, resume, delete |
//! | `messages` | publish one or a batch, list, read |
//! | `webhooks` | create, list, read, change, pause, resume, enable, delete |
//! | `deliveries` | list, read, list attempts, replay, cancel |
//! | `previews` | show the request of a delivery as it would be sent now |
//! | `dead_letters` | list, count, group, read, replay, discard |
//! | `lanes` | list, read the history of one, try again, skip the head |
//! | `logins` | log in to the console, ask who is logged in, log out |
//! | `jobs` | list, read, cancel; replay or cancel a range; purge |
//! | `ready` | check that the database takes writes, its schema fits, and the worker works |
//! | `doctor` | find what is wrong with the database, the schema and the processes |
//! | `drain` | list what is still owed, and what cannot move; refuse new messages |
//! | `sending` | read whether anything is sent, switch it on or off |
//! | `stats` | read the figures, list the workers |
//! | `gauges` | read what metrics tell of the database |
//! | `tail` | watch what is published to a topic, and what is sent to a webhook |
//! | `why` | explain where a message or a partition stands |
//! | `test_requests` | try a webhook, outside every lane |
//! | `scope` | which topics the caller may see and use |

mod dead_letters;
mod deliveries;
mod doctor;
mod drain;
mod error;
mod gauges;
mod jobs;
mod lanes;
mod logins;
mod messages;
mod previews;
mod ready;
mod scope;
mod sending;
mod stats;
mod tail;
mod tails;
mod test_requests;
mod topics;
mod webhooks;
mod why;

use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::Mutex;

use self::tails::Tails;
pub use self::{
    doctor::Expectations,
    error::{BrokerError, Conflict},
    jobs::{Bulk, DeadLetterAction},
    lanes::RetriedLanes,
    logins::LOGIN_LASTS,
    tails::Tail,
    test_requests::TestRequest,
    webhooks::CreatedWebhook,
};
use crate::{
    delivery::{AddressGuard, TestSender},
    domain::{policy::PolicyDefaults, scope::TopicScope, worker_health::WorkerHealth},
    store::Store,
};

/// The use cases, on one database. Clones are cheap.
#[derive(Clone)]
pub struct Broker {
    store: Store,
    /// Decides which URLs a webhook may have.
    guard: Arc<AddressGuard>,
    /// Sends test requests.
    tests: Arc<TestSender>,
    /// The values for what a webhook's own policy leaves open.
    defaults: PolicyDefaults,
    /// The worker of this process, if it has one.
    worker: Option<WorkerHealth>,
    /// What is watched in this process.
    tails: Arc<Tails>,
    /// Which topics the caller may see and use.
    scope: Arc<TopicScope>,
    /// How the audit log names the caller.
    actor: Arc<str>,
    /// Whether processes send nothing until somebody switches sending on.
    start_paused: bool,
    /// What the checks of `doctor` compare with.
    expectations: Arc<Expectations>,
    /// Held while `doctor` asks the database.
    diagnosing: Arc<Mutex<()>>,
}

impl Broker {
    /// The use cases on the database of `store`. A webhook's URL may also lead to `allow_networks`,
    /// which the address guard would refuse otherwise.
    pub fn new(store: Store, allow_networks: Vec<IpNet>) -> Self {
        let guard = Arc::new(AddressGuard::new(allow_networks));
        let tests = Arc::new(TestSender::new(AddressGuard::clone(&guard), None));
        Self {
            store,
            guard,
            tests,
            defaults: PolicyDefaults::default(),
            worker: None,
            tails: Arc::default(),
            scope: Arc::default(),
            actor: "pgtopic".into(),
            start_paused: false,
            expectations: Arc::default(),
            diagnosing: Arc::default(),
        }
    }

    /// The schema that holds everything, as SQL writes it.
    pub fn schema_in_sql(&self) -> &str {
        self.store.schema_in_sql()
    }

    /// Ends when the tails of this process do: at its shutdown.
    pub fn until_tails_end(&self) -> impl Future<Output = ()> + Send + 'static {
        self.tails.until_end()
    }

    /// This process has a worker, too. It is ready only while that worker works.
    #[must_use]
    pub fn beside_worker(self, worker: WorkerHealth) -> Self {
        Self { worker: Some(worker), ..self }
    }
}
