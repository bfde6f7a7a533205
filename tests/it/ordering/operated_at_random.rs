//! Random operations of operators, beside publishers, jobs, retention, pauses, and workers that are
//! killed and taken over.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use pgtopic::{
    domain::operation::{Removal, ReplayOutcome},
    store::Store,
};
use pgtopic_testkit::{Answer, Broker, Http, Received, Scene, Stall};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// How often a worker is killed. Each time it is the one that has lived longer.
const KILLS: usize = 3;

/// How many operations there are between two kills.
const OPERATIONS: usize = 60;

/// How long a request of a killed worker may still be on its way to the receiver.
const ARRIVES_WITHIN: Duration = Duration::from_millis(250);

/// A small generator of numbers, so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most.max(1)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.below(of.len())])
    }
}

async fn ids(client: &Client, sql: &str) -> Vec<i64> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// A webhook, and what operators have done to its messages.
struct Operated {
    id: i64,
    path: &'static str,
    /// How often each message was replayed by itself.
    replayed: BTreeMap<i64, usize>,
    /// How many jobs may have replayed each message.
    jobs: usize,
}

impl Operated {
    fn new(id: i64, path: &'static str) -> Self {
        Self { id, path, replayed: BTreeMap::new(), jobs: 0 }
    }

    async fn operate(&mut self, store: &Store, client: &Client, random: &mut Random) {
        let id = self.id;
        let owed = ids(client, &format!("SELECT message_id FROM deliveries WHERE webhook_id = {id}")).await;
        match random.below(8) {
            kind @ (0 | 1) => {
                let removal = if kind == 0 { Removal::Cancel } else { Removal::Skip };
                if let Some(message) = random.pick(&owed) {
                    store.cancel_deliveries(id, &[message], removal, true, "test").await.unwrap();
                }
            }
            2 => {
                let letters =
                    ids(client, &format!("SELECT id FROM dead_letters WHERE webhook_id = {id}")).await;
                let some: Vec<i64> = letters.into_iter().filter(|_| random.below(3) == 0).collect();
                for one in store.replay_dead_letters(&some, false).await.unwrap() {
                    if one.outcome == ReplayOutcome::Replayed {
                        *self.replayed.entry(one.delivery.unwrap().1).or_default() += 1;
                    }
                }
            }
            kind @ (3 | 4) => {
                let all = ids(client, "SELECT id FROM messages").await;
                let waits = kind == 3;
                let some: Vec<i64> = if waits {
                    random.pick(&all).into_iter().collect()
                } else {
                    all.into_iter().filter(|_| random.below(20) == 0).collect()
                };
                for (message, outcome) in store.replay_deliveries(id, &some, waits).await.unwrap() {
                    if outcome == ReplayOutcome::Replayed {
                        *self.replayed.entry(message).or_default() += 1;
                    }
                }
            }
            5 => self.retry(store).await,
            6 => {
                let pause = "UPDATE webhooks SET paused = NOT paused WHERE id =";
                client.batch_execute(&format!("{pause} {id}")).await.unwrap();
            }
            _ => {}
        }
    }

    async fn retry(&self, store: &Store) {
        let lanes = store.list_held_up_lanes(self.id, None, 1000).await.unwrap();
        store.retry_lanes(self.id, &lanes, "test").await.unwrap();
    }

    /// What must hold when nothing is owed any more:
    ///
    /// - One request of a lane at a time.
    /// - Live messages come in order.
    /// - What was accepted comes again only if it was replayed, or if a worker was killed that had
    ///   not settled it.
    /// - Everything that was published was accepted, or is a dead letter.
    fn check(&self, received: &[Received], letters: &BTreeSet<i64>, published: &[i64], losses: &Losses) {
        let mut lanes: BTreeMap<&str, Vec<&Received>> = BTreeMap::new();
        for one in received.iter().filter(|one| one.path == self.path) {
            lanes.entry(one.partition()).or_default().push(one);
        }
        let mut accepted: BTreeSet<i64> = BTreeSet::new();
        for (key, requests) in lanes {
            let lane = format!("{} {key}", self.path);
            for pair in requests.windows(2) {
                assert!(
                    pair[0].ended.is_some_and(|ended| ended <= pair[1].arrived),
                    "{lane}: two requests at once, for {} and {}",
                    pair[0].position(),
                    pair[1].position()
                );
            }
            accepted.extend(requests.iter().filter(|one| one.accepted()).map(|one| one.position()));
            let (replays, live): (Vec<&Received>, Vec<&Received>) =
                requests.into_iter().partition(|one| one.header("webhook-replay") == "true");
            self.check_live(&lane, &live, losses);
            self.check_replays(&lane, &replays, losses);
        }
        for id in published {
            assert!(accepted.contains(id) || letters.contains(id), "{}: {id} is lost", self.path);
        }
    }

    fn check_live(&self, lane: &str, requests: &[&Received], losses: &Losses) {
        let mut accepted: BTreeMap<i64, Instant> = BTreeMap::new();
        for request in requests {
            let id = request.position();
            match (accepted.get(&id), accepted.last_key_value()) {
                (Some(at), _) => {
                    assert!(losses.explain(self.id, id, *at), "{lane}: {id} came again");
                }
                (None, Some((last, _))) => assert!(id > *last, "{lane}: {id} came after {last}"),
                (None, None) => {}
            }
            if request.accepted() {
                accepted.insert(id, request.arrived);
            }
        }
    }

    fn check_replays(&self, lane: &str, requests: &[&Received], losses: &Losses) {
        let mut accepted: BTreeMap<i64, Vec<Instant>> = BTreeMap::new();
        for request in requests.iter().filter(|one| one.accepted()) {
            accepted.entry(request.position()).or_default().push(request.arrived);
        }
        for (id, times) in accepted {
            let asked = self.jobs + self.replayed.get(&id).copied().unwrap_or_default();
            let repeated = times.windows(2).filter(|pair| losses.explain(self.id, id, pair[0])).count();
            assert!(
                times.len() <= asked + repeated,
                "{lane}: {id} was accepted {} times as a replay, and {asked} were asked for",
                times.len()
            );
        }
    }
}

/// The kills of workers.
#[derive(Default)]
struct Losses {
    /// When the last requests of the worker had arrived, and what was owed then: webhook and message.
    kills: Vec<(Instant, BTreeSet<(i64, i64)>)>,
    /// Whether a worker has started over by itself. Then nobody knows what it had in flight.
    by_itself: bool,
    /// For how long the machine stood still at most.
    stall: Duration,
}

impl Losses {
    async fn note(&mut self, client: &Client) {
        let rows = client.query("SELECT webhook_id, message_id FROM deliveries", &[]).await.unwrap();
        let owed = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        self.kills.push((Instant::now() + ARRIVES_WITHIN, owed));
    }

    /// Whether a message that was accepted at this time may come again.
    fn explain(&self, webhook: i64, message: i64, accepted: Instant) -> bool {
        let unsettled = |(over, owed): &(Instant, BTreeSet<(i64, i64)>)| {
            owed.contains(&(webhook, message)) && accepted <= *over + self.stall
        };
        self.by_itself || self.kills.iter().any(unsettled)
    }
}

/// Everything that takes part.
struct World {
    scene: Scene,
    http: Http,
    store: Store,
    client: Client,
    random: Random,
    webhooks: [Operated; 2],
    published: Vec<i64>,
}

impl World {
    /// Publishes a few messages, and does an operation on each webhook.
    async fn go_on(&mut self) {
        for _ in 0..self.random.below(3) {
            let key = self.random.pick(&["a", "b", "c"]).unwrap();
            self.published.extend(self.scene.publish(&[key]).await);
        }
        for webhook in &mut self.webhooks {
            webhook.operate(&self.store, &self.client, &mut self.random).await;
        }
    }

    async fn job(&self, path: &str, body: Value) {
        let (status, job) = self.http.try_post(path, &body).await.unwrap();
        assert_eq!(status, 202, "{job}");
    }

    /// Jobs that are under way when the leader is killed: a replay of everything to one webhook, of
    /// all dead letters, and a purge. Every third message is past its retention.
    async fn start_jobs(&mut self, round: usize) {
        let webhook = &mut self.webhooks[round % 2];
        webhook.jobs += 1;
        let path = format!("/webhooks/{}/replay", webhook.id);
        self.job(&path, json!({"from": 1, "rate_per_second": 500})).await;
        self.job("/dead-letter/replay", json!({"all": true, "rate_per_second": 500})).await;
        self.webhooks.iter_mut().for_each(|webhook| webhook.jobs += 1);
        let old = "UPDATE messages SET created_at = now() - interval '40 days' WHERE id % 3 = 0";
        self.scene.sql(old).await;
        self.job("/purge", json!({"rate_per_second": 500})).await;
    }

    /// Brings everything to its end: no pause, no failure, no job, nothing owed.
    async fn finish(&self) {
        self.scene.receiver.set_script(|_| Answer::Status(204));
        self.scene.sql("UPDATE webhooks SET paused = false").await;
        let retry = async {
            loop {
                for webhook in &self.webhooks {
                    webhook.retry(&self.store).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ended = async {
            self.scene.until("NOT EXISTS (SELECT FROM jobs WHERE finished_at IS NULL)").await;
            self.scene.no_lane_left().await;
        };
        tokio::select! {
            () = ended => {}
            () = retry => {}
        }
    }
}

/// The receiver refuses every seventh message for a while. One webhook gives up what is refused, one
/// halts. Workers are killed, and operators go on while others take over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_operators_do_nothing_is_lost_or_out_of_order() {
    let stall = Stall::watch();
    let scene = Scene::new().await;
    let settings = [("max_retries", "1")];
    let gives_up = scene.webhook("/gives-up", &settings).await;
    let halts = scene.webhook("/halts", &[settings[0], ("on_exhausted", "'halt'")]).await;
    scene
        .receiver
        .set_script(|received| Answer::Status(if received.position() % 7 == 0 { 503 } else { 204 }));
    let mut brokers = [Broker::start(scene.store()), Broker::start(scene.store())];
    let mut world = World {
        http: Http::serve(scene.store()).await,
        store: scene.store(),
        client: scene.another_client().await,
        random: Random(42),
        webhooks: [Operated::new(gives_up, "/gives-up"), Operated::new(halts, "/halts")],
        published: Vec::new(),
        scene,
    };
    let mut losses = Losses::default();
    for round in 0..KILLS {
        for _ in 0..OPERATIONS {
            world.go_on().await;
        }
        world.start_jobs(round).await;
        let fresh = Broker::start(world.scene.store());
        std::mem::replace(&mut brokers[round % 2], fresh).kill().await;
        losses.note(&world.client).await;
        // Another worker takes over meanwhile.
        while ids(&world.client, "SELECT id FROM changes WHERE kind = 'worker.lost'").await.len() <= round {
            world.go_on().await;
        }
    }
    world.finish().await;

    let started = i64::try_from(brokers.len() + KILLS).unwrap();
    losses.by_itself = world.scene.number("SELECT -last_value FROM worker_lock_keys").await > started;
    losses.stall = stall.longest();
    let failed = "SELECT count(*) FROM jobs WHERE state <> 'succeeded'";
    assert_eq!(world.scene.number(failed).await, 0);
    assert!(world.webhooks.iter().all(|webhook| webhook.replayed.len() > 10), "the run did something");
    let kept = usize::try_from(world.scene.number("SELECT count(*) FROM messages").await).unwrap();
    assert!(kept < world.published.len(), "retention did something");
    let received = world.scene.receiver.received();
    for webhook in &world.webhooks {
        let letters = format!("SELECT message_id FROM dead_letters WHERE webhook_id = {}", webhook.id);
        let letters = ids(&world.client, &letters).await.into_iter().collect();
        webhook.check(&received, &letters, &world.published, &losses);
    }
}
