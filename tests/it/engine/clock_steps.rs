//! Steps of the database's clock. A ready lane stays ready. A lane that waits does not wait much
//! longer than it should.
//!
//! Some tests step the clock, with libfaketime. Other tests write the rows that a step would leave.

use std::{
    cell::RefCell,
    collections::HashSet,
    time::{Duration, Instant},
};

use pgtopic_testkit::{
    Answer, Broker, Scene, Stall, TestClock, TestCluster, TestReceiver, check_order, create_topic,
    create_webhook, eventually, expected, nothing_owed, publish,
};
use rstest::rstest;
use tokio_postgres::Client;

/// How soon a ready lane must be sent. It is ten times the time between two looks, and half of the
/// shortest step. A lane that is not repaired waits as long as the step.
const SOON: Duration = Duration::from_secs(5);

/// A topic, a webhook and a receiver. The clock of their PostgreSQL can be stepped.
struct Stage {
    cluster: TestCluster,
    clock: TestClock,
    client: Client,
    receiver: TestReceiver,
}

impl Stage {
    async fn new(settings: &[(&str, &str)]) -> Option<Self> {
        let clock = TestClock::new().await?;
        let (cluster, receiver) = (TestCluster::with_clock(&clock).await, TestReceiver::accepting().await);
        let stage = Self { client: client(&cluster).await, cluster, clock, receiver };
        create_topic(&stage.client).await;
        create_webhook(&stage.client, &stage.receiver.url("/"), settings).await;
        Some(stage)
    }

    /// Starts a worker and waits until it listens.
    async fn broker(&self) -> Broker {
        let broker = Broker::start(self.cluster.store());
        self.until("count(*) > 0 FROM workers").await;
        broker
    }

    async fn until(&self, condition: &str) {
        let sql = format!("SELECT {condition}");
        let met = async || self.client.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0).then_some(());
        eventually(condition, met).await;
    }

    /// Sets the clock of the server to the real time plus an offset, and checks it.
    async fn step(&self, offset: &str, seconds: f64) {
        self.clock.step(offset);
        let sql = "SELECT extract(epoch FROM clock_timestamp())::float8";
        let there: f64 = self.client.query_one(sql, &[]).await.unwrap().get(0);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds are enough")]
        let here = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
        assert!((there - here - seconds).abs() < 5.0, "the clock is stepped: {there} {here}");
    }

    /// How many incarnations of workers there have been.
    async fn incarnations(&self) -> i64 {
        self.client.query_one("SELECT -last_value FROM worker_lock_keys", &[]).await.unwrap().get(0)
    }

    /// Waits until all workers together have looked at the other workers this many times.
    async fn others_are_looked_at(&self, count: usize) {
        let sql = "SELECT concat(pid, ' ', query_start) FROM pg_stat_activity WHERE query LIKE '-- Look at the other workers%'";
        let looks = RefCell::new(HashSet::new());
        eventually("looks at other workers", async || {
            let rows = self.client.query(sql, &[]).await.unwrap();
            let mut looks = looks.borrow_mut();
            looks.extend(rows.iter().map(|row| row.get::<_, String>(0)));
            (looks.len() >= count).then_some(())
        })
        .await;
    }

    /// Waits until a message is accepted. Returns when its request arrived.
    async fn accepted(&self, id: i64) -> Instant {
        let all = self
            .receiver
            .wait_until("a message", |all| all.iter().any(|one| one.position() == id && one.accepted()))
            .await;
        all.iter().find(|one| one.position() == id && one.accepted()).unwrap().arrived
    }

    async fn finish(&self) {
        nothing_owed(&self.client).await;
        assert_eq!(check_order(&self.receiver.received(), &expected(&self.client, &["/"]).await), 0);
    }
}

async fn client(cluster: &TestCluster) -> Client {
    let client = cluster.client().await;
    client.batch_execute("SET search_path = pgtopic").await.unwrap();
    client
}

/// The clock is stepped while a worker runs. At the step there are: a lane that waits after a
/// failure, and a transaction that has published and is open. Other messages come after the step.
#[rstest]
#[case::an_hour_back("-1h", -3600.0)]
#[case::a_year_back("-365d", -365.0 * 86400.0)]
#[case::ten_seconds_back("-10s", -10.0)]
#[case::an_hour_forward("+1h", 3600.0)]
#[tokio::test]
async fn a_step_while_a_worker_runs_delays_nothing(#[case] offset: &str, #[case] seconds: f64) {
    let Some(stage) = Stage::new(&[("backoff_factor", "3")]).await else { return };
    let broker = stage.broker().await;
    // The lane `waits` fails once, and then waits for 3 s to 3.6 s.
    stage.receiver.set_script(|one| {
        let refused = one.partition() == "waits" && one.header("webhook-attempt") == "1";
        Answer::Status(if refused { 503 } else { 204 })
    });
    let id = publish(&stage.client, "waits").await.unwrap();
    stage.until("EXISTS (SELECT FROM lanes WHERE failures = 1 AND claimed_by IS NULL)").await;
    let publisher = client(&stage.cluster).await;
    publisher.batch_execute("BEGIN").await.unwrap();
    let open = publish(&publisher, "open").await.unwrap();
    let incarnations = stage.incarnations().await;

    let stepped = Instant::now();
    stage.step(offset, seconds).await;
    for step in 0..5 {
        let (published, after) =
            (Instant::now(), publish(&stage.client, &format!("after-{step}")).await.unwrap());
        let took = stage.accepted(after).await.saturating_duration_since(published);
        assert!(took < SOON, "a message that was published after the step took {took:?}");
    }
    let committed = Instant::now();
    publisher.batch_execute("COMMIT").await.unwrap();
    let took = stage.accepted(open).await.saturating_duration_since(committed);
    assert!(took < SOON, "a message whose transaction was open at the step took {took:?}");
    let took = stage.accepted(id).await.saturating_duration_since(stepped);
    println!("{offset}: the lane that waited was sent {took:?} after the step");
    // The lane waits for as long as its failure demands. This wait counts, too.
    assert!(took < Duration::from_millis(3600) + SOON, "the lane waited for {took:?}");
    assert_eq!(stage.incarnations().await, incarnations, "the worker did not start over");
    stage.finish().await;
    broker.stop().await;
}

/// A backlog is ready before the clock is stepped back. It is sent at once.
#[rstest]
#[case::no_worker_ran(false)]
#[case::a_worker_ran_and_the_webhook_was_paused(true)]
#[tokio::test]
async fn a_backlog_from_before_a_step_leaves_at_once(#[case] worker_ran: bool) {
    let Some(stage) = Stage::new(&[]).await else { return };
    let mut broker = None;
    if worker_ran {
        broker = Some(stage.broker().await);
        stage.client.batch_execute("UPDATE webhooks SET paused = true").await.unwrap();
    }
    let mut ids = Vec::new();
    for key in ["a", "b", "c", "a", "b"] {
        ids.push(publish(&stage.client, key).await.unwrap());
    }
    stage.step("-1h", -3600.0).await;
    if worker_ran {
        stage.client.batch_execute("UPDATE webhooks SET paused = false").await.unwrap();
    } else {
        broker = Some(stage.broker().await);
    }
    // Without a repair of `due_at` they would arrive after an hour.
    for id in ids {
        stage.accepted(id).await;
    }
    stage.finish().await;
    broker.unwrap().stop().await;
}

/// A worker finds out that another worker is dead by a lock and by its own clock. The clock of the
/// database does not matter.
#[rstest]
#[case::back("-1h", -3600.0)]
#[case::forward("+1h", 3600.0)]
#[tokio::test]
async fn a_step_neither_hides_a_dead_worker_nor_kills_a_live_one(#[case] offset: &str, #[case] seconds: f64) {
    let Some(stage) = Stage::new(&[]).await else { return };
    let first = stage.broker().await;
    stage.receiver.set_script(|_| Answer::Hang);
    let id = publish(&stage.client, "a").await.unwrap();
    stage.receiver.wait_for(1).await;
    let second = Broker::start(stage.cluster.store());
    stage.until("count(*) = 2 FROM workers").await;

    stage.step(offset, seconds).await;
    // A takeover needs six looks of one worker at the other. Here both have looked more often. The
    // live worker has kept its lane and its request.
    stage.others_are_looked_at(2 * 8).await;
    assert!(stage.receiver.received()[0].ended.is_none(), "the request goes on");
    stage.receiver.set_script(|_| Answer::Status(204));
    let stall = Stall::watch();
    let killed = Instant::now();
    drop(first);
    let took = stage.accepted(id).await.saturating_duration_since(killed);
    // `failover::workers` allows the same time.
    assert!(took < Duration::from_secs(4) + stall.longest(), "{took:?}");
    stage.finish().await;
    second.stop().await;
}

#[tokio::test]
async fn a_repair_of_due_at_changes_only_lanes_that_wait_too_long() {
    let scene = Scene::new().await;
    scene.webhook("/1", &[("paused", "true")]).await;
    scene.webhook("/2", &[("paused", "true")]).await;
    scene.publish(&["ready", "waits", "waits too long", "halted", "claimed", "due"]).await;
    scene
        .sql(
            "UPDATE lanes SET due_at = due_at + interval '1 hour' WHERE partition_key IN ('ready', 'claimed');
             UPDATE lanes SET due_at = clock_timestamp() + interval '50 s', wait_seconds = 60, failures = 3
              WHERE partition_key = 'waits';
             UPDATE lanes SET due_at = clock_timestamp() + interval '1 hour', wait_seconds = 60, failures = 3
              WHERE partition_key = 'waits too long';
             UPDATE lanes SET due_at = 'infinity', halted = true WHERE partition_key = 'halted';
             INSERT INTO workers (id, lock_key, name, version, capacity, lease)
             VALUES ('00000000-0000-0000-0000-000000000001', -5000, 'worker', '0', 1, '1 min');
             UPDATE lanes SET claimed_by = '00000000-0000-0000-0000-000000000001', token = 1 WHERE partition_key = 'claimed';
             CREATE TABLE public.before AS SELECT * FROM lanes",
        )
        .await;
    // Each call looks at one lane. So every call must go on where the last call ended.
    let (mut after, mut corrected, mut looks) = ((0_i64, jiff::Timestamp::UNIX_EPOCH), 0, 0);
    loop {
        let sql = "SELECT * FROM repair_due_at($1, $2, 1)";
        let row = scene.client.query_one(sql, &[&after.0, &after.1]).await.unwrap();
        corrected += row.get::<_, i64>(0);
        looks += 1;
        let Some(webhook) = row.get::<_, Option<i64>>(1) else { break };
        after = (webhook, row.get(2));
    }
    assert_eq!(
        (corrected, looks),
        (4, 7),
        "each webhook has two lanes to correct; three lanes of each are in the future, plus the last call"
    );
    let changed = "SELECT string_agg(DISTINCT partition_key, ',' ORDER BY partition_key)
                     FROM lanes JOIN public.before b USING (webhook_id, partition_key) WHERE lanes.* <> b.*";
    assert_eq!(scene.text(changed).await, "ready,waits too long");
    let now = "count(*) = 2 FROM lanes WHERE partition_key = 'ready' AND due_at <= clock_timestamp()";
    scene.until(now).await;
    let wait = "bool_and(due_at - clock_timestamp() BETWEEN interval '50 s' AND interval '60 s')
                  FROM lanes WHERE partition_key = 'waits too long'";
    scene.until(wait).await;
}

/// 45,000 lanes wait, and rightly. That is more than one call looks at. A lane of another webhook
/// waits too long.
#[tokio::test]
async fn a_repair_of_due_at_finds_a_lane_behind_many_that_wait_rightly() {
    let scene = Scene::new().await;
    scene.webhook("/1", &[("paused", "true")]).await;
    scene.webhook("/2", &[]).await;
    let _broker = Broker::start(scene.store());
    scene
        .sql(
            "INSERT INTO lanes (webhook_id, lane, partition_key, due_at, position, failures, wait_seconds)
             SELECT 1, n, 'waits', clock_timestamp() + make_interval(secs => 900 + n / 1000.0), 0, 1, 1000
               FROM generate_series(1, 45000) AS n",
        )
        .await;
    for count in 0..3_usize {
        scene
            .sql(&format!(
                "BEGIN; INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, 'key-{count}', '{{}}');
                 UPDATE lanes SET due_at = due_at + interval '1 hour' WHERE partition_key = 'key-{count}' AND webhook_id = 2;
                 COMMIT"
            ))
            .await;
        // If the lane were not found, its message would arrive after an hour.
        scene.receiver.wait_for(count + 1).await;
    }
    let still = "SELECT count(*) FROM lanes WHERE partition_key = 'waits' AND due_at > clock_timestamp() + interval '10 min'";
    assert_eq!(scene.number(still).await, 45_000, "the lanes that wait rightly are not changed");
}
