//! The parts of a run: a PostgreSQL, workers and an API behind links that can fail, and two
//! webhooks.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use pgtopic_testkit::{
    Answer, Process, Received, TestCluster, TestProxy, TestReceiver, Upstream, create_topic, create_webhook,
    reach_schema,
};

use crate::wal_disk::WalDisk;

/// How many partitions there are. They are few, so that publishers meet in them.
pub(crate) const KEYS: usize = 12;

/// How many lanes there are. At most this many requests are in flight.
pub(crate) const LANES: usize = HOOKS * KEYS;

/// How many lanes one worker may have in flight. It is more than all lanes, because one webhook
/// never gets the last slots. A lane that waits for a slot waits for other lanes' messages. Such a
/// wait would hide how long takeovers take.
const CONCURRENCY: usize = LANES + LANES / 3;

/// How the workers are started.
const COMMANDS: [&str; 4] = ["serve", "worker", "worker", "worker"];

/// How many workers there are.
pub(crate) const WORKERS: usize = COMMANDS.len();

/// How many of the workers may be killed, stopped and paused: the first ones. The last one is left
/// alone, and lives as long as the run.
pub(crate) const KILLED: usize = WORKERS - 1;

/// How many webhooks there are.
pub(crate) const HOOKS: usize = 2;

/// The time limit of one request.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// The payload of a message that one of the webhooks always refuses.
pub(crate) const POISON: &str = "poison";

/// A `pgtopic worker`, or `pgtopic serve`, with a link to PostgreSQL of its own.
pub(crate) struct Worker {
    pub(crate) command: &'static str,
    pub(crate) process: Process,
    pub(crate) link: TestProxy,
}

impl Worker {
    /// Starts the process again, and waits until it is ready.
    pub(crate) async fn start_again(&mut self) {
        self.process = start_worker(self.command, &self.link).await;
    }
}

/// A webhook, known by its path, with a link of its own.
pub(crate) struct Hook {
    pub(crate) id: i64,
    pub(crate) path: &'static str,
    pub(crate) receiver: TestReceiver,
    pub(crate) link: TestProxy,
}

impl Hook {
    /// Accepts everything but poison, after some milliseconds.
    pub(crate) fn be_well(&self) {
        self.answer_after(Duration::ZERO);
    }

    /// Accepts everything but poison, after this time and some milliseconds.
    pub(crate) fn answer_after(&self, wait: Duration) {
        let refuses = self.path == "/b";
        self.receiver.set_script(move |received| {
            let poison = refuses && received.body.windows(POISON.len()).any(|word| word == POISON.as_bytes());
            let answer = Answer::Status(if poison { 500 } else { 204 });
            Answer::After(wait + Duration::from_millis(received.number as u64 % 8), Box::new(answer))
        });
    }
}

/// All parts. Fields are dropped in this order: the disk must be unmounted before its directory is
/// removed.
pub(crate) struct Stage {
    pub(crate) workers: Vec<Worker>,
    pub(crate) api: Process,
    pub(crate) api_address: SocketAddr,
    pub(crate) hooks: Vec<Hook>,
    /// Why there is no disk, if there is none.
    pub(crate) wal_disk: Result<WalDisk, String>,
    pub(crate) cluster: TestCluster,
    /// Times are counted from here.
    pub(crate) origin: Instant,
}

impl Stage {
    pub(crate) async fn build() -> Self {
        let parameters = [("max_wal_size", "64MB"), ("min_wal_size", "32MB"), ("deadlock_timeout", "100ms")];
        let mut cluster = TestCluster::durable_with(&parameters).await;
        cluster.postgres.stop(pgtopic::embedded::ShutdownMode::Fast).await.unwrap();
        let wal_disk = WalDisk::move_to(&cluster.postgres.data_dir().join("data"));
        cluster.postgres.start_again().await.unwrap();

        let client = reach_schema(&cluster.url()).await;
        create_topic(&client).await;
        let policies: [(&str, &[(&str, &str)]); HOOKS] =
            [("/a", &[("max_retries", "1000")]), ("/b", &[("max_retries", "1")])];
        let mut hooks = Vec::new();
        for (path, policy) in policies {
            let receiver = TestReceiver::accepting().await;
            let link = TestProxy::start(Upstream::Tcp(receiver.address())).await;
            let url = format!("http://{}{path}", link.address());
            let id = create_webhook(&client, &url, &[policy, QUICK].concat()).await;
            let hook = Hook { id, path, receiver, link };
            hook.be_well();
            hooks.push(hook);
        }
        let mut workers = Vec::new();
        for command in COMMANDS {
            let link = TestProxy::start(Upstream::Unix(cluster.socket())).await;
            workers.push(Worker { command, process: start_worker(command, &link).await, link });
        }
        let api_address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let api = start_api(&cluster, api_address).await;
        Self { workers, api, api_address, hooks, wal_disk, cluster, origin: Instant::now() }
    }

    /// Starts the API again.
    pub(crate) async fn start_api_again(&mut self) {
        self.api = start_api(&self.cluster, self.api_address).await;
    }

    /// The webhooks that every message is owed to.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        self.hooks.iter().map(|hook| hook.path.to_owned()).collect()
    }

    /// How many requests each receiver has seen.
    pub(crate) fn counts(&self) -> Vec<usize> {
        self.hooks.iter().map(|hook| hook.receiver.count()).collect()
    }

    /// What arrived since then.
    pub(crate) fn received_after(&self, counts: &[usize]) -> Vec<Received> {
        self.hooks.iter().zip(counts).flat_map(|(hook, count)| hook.receiver.received_after(*count)).collect()
    }

    /// The worker whose process is never hit.
    pub(crate) fn left_alone(&self) -> &Worker {
        &self.workers[KILLED]
    }

    /// Panics if a process has ended by itself.
    pub(crate) fn assert_running(&mut self) {
        for worker in &mut self.workers {
            assert!(!worker.process.has_ended(), "a worker ended: {}", worker.process.output());
        }
        assert!(!self.api.has_ended(), "the API ended: {}", self.api.output());
    }
}

/// Delays of one second.
const QUICK: &[(&str, &str)] = &[("backoff_factor", "1"), ("timeout_seconds", "2")];

async fn start_worker(command: &str, link: &TestProxy) -> Process {
    let url = format!("postgresql://postgres@{}/postgres", link.address());
    let concurrency = CONCURRENCY.to_string();
    let environment = [
        ("DATABASE_URL", url.as_str()),
        ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("PGTOPIC_DELIVERY__TIMEOUT_SECONDS", "2"),
        ("WORKER_CONCURRENCY", &concurrency),
        ("PGTOPIC_API__BIND", "127.0.0.1:0"),
    ];
    let mut process = Process::start(&[command], &environment);
    process.wait_for_output("worker is ready").await;
    process
}

async fn start_api(cluster: &TestCluster, address: SocketAddr) -> Process {
    let (url, bind) = (cluster.url(), address.to_string());
    let mut process = Process::start(&["api"], &[("DATABASE_URL", &url), ("PGTOPIC_API__BIND", &bind)]);
    process.wait_for_output("the API listens").await;
    process
}
