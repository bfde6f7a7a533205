//! A script's steps on a real server.

use std::{sync::Arc, time::Duration};

use pgtopic_testkit::LIMIT;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage, Statement};

use super::{
    action::{Action, Mode, SESSIONS, Seen, Stands},
    coverage::Coverage,
    sql::{self, Cells, Keys},
};

/// The class of the advisory locks that stand for break points; the session's number is added.
const BREAKS: i32 = 77_000;

/// Who makes each session wait.
const BLOCKERS: &str =
    "SELECT pg_blocking_pids(pid) FROM unnest($1::integer[]) WITH ORDINALITY AS a (pid, n) ORDER BY n";

/// How many keys scripts use. The last one has the first one's stripe in the first topic.
pub(crate) const KEYS: u32 = 4;

/// A server with the sessions of a script.
pub(crate) struct Real {
    sessions: Vec<Arc<Client>>,
    pids: Vec<i32>,
    monitor: Client,
    monitor_pid: i32,
    listener: Client,
    heard: tokio::sync::mpsc::UnboundedReceiver<String>,
    running: Vec<Option<(Action, JoinHandle<String>)>>,
    /// Which of its two locks holds a session at its next break point.
    turns: [i32; SESSIONS],
    mode: Mode,
    pub(crate) keys: Keys,
    pub(crate) coverage: Coverage,
    tables: Option<Statement>,
    look: Option<Statement>,
}

impl Real {
    /// Connects. The functions of the schema stay as they are.
    pub(crate) async fn open(url: &str, mode: Mode) -> Self {
        let mut sessions = Vec::new();
        let mut pids = Vec::new();
        for number in 0..SESSIONS {
            let client = connect(url).await;
            client.batch_execute("SET deadlock_timeout = '1ms'; SET synchronous_commit = on").await.unwrap();
            if mode.stops[number] {
                client.batch_execute(&format!("SET conformity.session = '{number}'")).await.unwrap();
            }
            pids.push(pid(&client).await);
            sessions.push(Arc::new(client));
        }
        let (listener, heard) = listen(url).await;
        let monitor = connect(url).await;
        let monitor_pid = pid(&monitor).await;
        let mut real = Self {
            sessions,
            pids,
            monitor,
            monitor_pid,
            listener,
            heard,
            running: (0..SESSIONS).map(|_| None).collect(),
            turns: [1; SESSIONS],
            mode,
            keys: Keys::new(),
            coverage: Coverage::default(),
            tables: None,
            look: None,
        };
        real.prepare().await;
        real
    }

    async fn prepare(&mut self) {
        let colliding = "SELECT min(k) FROM (SELECT 'c' || n AS k FROM generate_series(1, 5000) n) k
                          WHERE stripe(1, k) = stripe(1, 'k0')";
        let colliding: String = self.monitor.query_one(colliding, &[]).await.unwrap().get(0);
        self.tables = Some(self.monitor.prepare(sql::TABLES).await.unwrap());
        self.look = Some(self.monitor.prepare(BLOCKERS).await.unwrap());
        self.keys = (0..KEYS - 1).map(|key| format!("k{key}")).chain([colliding]).collect();
        let notify = if self.mode.notifies { "on" } else { "off" };
        self.monitor.batch_execute(&format!("UPDATE installation SET notify = '{notify}'")).await.unwrap();
        for number in 0..SESSIONS {
            if self.mode.stops[number] {
                let turn = format!(
                    "CREATE SEQUENCE IF NOT EXISTS conformity_turn_{number}; \
                     SELECT setval('conformity_turn_{number}', 1, false), pg_advisory_lock({}, 1)",
                    break_class(number)
                );
                self.monitor.batch_execute(&turn).await.unwrap();
            }
        }
    }

    /// Empties all tables.
    pub(crate) async fn reset(&mut self) {
        self.tables().await;
        let reset =
            "TRUNCATE topics, webhooks, messages, deliveries, lanes, dead_letters, workers, changes, jobs, breakers,
                              used_idempotency_keys RESTART IDENTITY CASCADE;
                     SELECT setval('message_ids', 1, false)";
        self.monitor.batch_execute(reset).await.unwrap();
        self.listener.batch_execute("").await.unwrap();
        while self.heard.try_recv().is_ok() {}
    }

    /// The lanes of all keys of the first topics.
    pub(crate) async fn lanes(&self, topics: i64) -> Vec<((i64, u32), i64)> {
        let mut lanes = Vec::new();
        for topic in 1..=topics {
            for (key, name) in (0..KEYS).zip(&self.keys) {
                let row = self.monitor.query_one("SELECT hashtextextended($1, $2)", &[name, &topic]).await;
                lanes.push(((topic, key), row.unwrap().get(0)));
            }
        }
        lanes
    }

    /// A step, until no session can go on.
    pub(crate) async fn step(&mut self, number: usize, action: &Action) -> Seen {
        if matches!(action, Action::GoOn) {
            self.go_on(number).await;
        } else {
            let client = Arc::clone(&self.sessions[number]);
            let (text, sent) = (sql::statement(action, &self.keys), action.clone());
            let sending = tokio::spawn(async move {
                match client.simple_query(&text).await {
                    Ok(messages) => sql::answer(&sent, &cells(&messages)),
                    Err(error) => {
                        // The error is sent before the locks are free.
                        client.simple_query("").await.unwrap();
                        let code = error.code().unwrap_or_else(|| panic!("{text}: {error}"));
                        format!("error {}", code.code())
                    }
                }
            });
            self.running[number] = Some((action.clone(), sending));
        }
        tokio::time::timeout(LIMIT, self.settle_down()).await.expect("the sessions come to rest")
    }

    /// Ends whatever the sessions still do.
    pub(crate) async fn end(&mut self) {
        for number in 0..SESSIONS {
            while self.running.iter().any(Option::is_some) {
                self.collect(&mut Vec::new()).await;
                self.end_one().await;
            }
            self.sessions[number].batch_execute("ROLLBACK").await.unwrap();
        }
        let prepared = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
        for row in self.monitor.query(prepared, &[]).await.unwrap() {
            let gid: String = row.get(0);
            self.monitor.batch_execute(&format!("ROLLBACK PREPARED '{gid}'")).await.unwrap();
        }
    }

    /// Lets those at break points go on, and cancels those that wait.
    async fn end_one(&mut self) {
        let Some(stands) = self.look().await else {
            tokio::time::sleep(Duration::from_micros(200)).await;
            return;
        };
        for (number, stands) in stands.into_iter().enumerate() {
            match stands {
                Stands::Idle => {}
                Stands::Waits => {
                    let cancel = "SELECT pg_cancel_backend($1)";
                    self.monitor.query(cancel, &[&self.pids[number]]).await.unwrap();
                }
                Stands::Stopped => self.go_on(number).await,
            }
        }
    }

    async fn go_on(&mut self, number: usize) {
        let (class, turn) = (break_class(number), self.turns[number]);
        self.turns[number] = 1 - turn;
        let go =
            format!("SELECT pg_advisory_lock({class}, {}), pg_advisory_unlock({class}, {turn})", 1 - turn);
        self.monitor.batch_execute(&go).await.unwrap();
    }

    /// Waits until each session has answered, or waits for a lock.
    async fn settle_down(&mut self) -> Seen {
        let mut answers = Vec::new();
        let stands = loop {
            // Most statements answer at once.
            tokio::time::sleep(Duration::from_micros(500)).await;
            self.collect(&mut answers).await;
            if let Some(stands) = self.look().await
                && self.running.iter().flatten().all(|(_, sending)| !sending.is_finished())
            {
                break stands;
            }
        };
        answers.sort();
        let (tables, heard) = tokio::join!(self.tables(), self.listener.batch_execute(""));
        heard.unwrap();
        let mut notifications = Vec::new();
        while let Ok(payload) = self.heard.try_recv() {
            notifications.push(payload);
        }
        notifications.sort_unstable();
        Seen { stands, answers, notifications, tables }
    }

    async fn collect(&mut self, answers: &mut Vec<(usize, String)>) {
        for (number, slot) in self.running.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|(_, sending)| sending.is_finished())
                && let Some((_, sending)) = slot.take()
            {
                answers.push((number, sending.await.unwrap()));
            }
        }
    }

    /// How the sessions stand; nothing if one of them is about to go on.
    async fn look(&self) -> Option<[Stands; SESSIONS]> {
        let mut stands = [Stands::Idle; SESSIONS];
        let busy: Vec<usize> = (0..SESSIONS).filter(|number| self.running[*number].is_some()).collect();
        if busy.is_empty() {
            return Some(stands);
        }
        let asked: Vec<i32> = busy.iter().map(|number| self.pids[*number]).collect();
        let look = self.look.as_ref().expect("prepared");
        let rows = self.monitor.query(look, &[&asked]).await.unwrap();
        let blockers: Vec<Vec<i32>> = rows.iter().map(|row| row.get(0)).collect();
        // A vacuum may also hold a session for a moment. 0 is a prepared transaction.
        let counts = |pid: &i32| *pid == 0 || *pid == self.monitor_pid || self.pids.contains(pid);
        for (at, number) in busy.iter().enumerate() {
            if !blockers[at].iter().any(counts) || is_deadlock(asked[at], &asked, &blockers) {
                return None;
            }
            stands[*number] =
                if blockers[at].contains(&self.monitor_pid) { Stands::Stopped } else { Stands::Waits };
            // Its wait ends by itself.
            let limited = self.running[*number].as_ref().is_some_and(|(action, _)| has_lock_timeout(action));
            if self.mode.lock_timeouts && limited && stands[*number] == Stands::Waits {
                return None;
            }
        }
        Some(stands)
    }

    async fn tables(&self) -> Vec<String> {
        let tables = self.tables.as_ref().expect("prepared");
        let rows = self.monitor.query(tables, &[]).await.unwrap();
        let lines = rows.iter().filter_map(|row| row.get::<_, Option<String>>(0));
        let mut lines: Vec<String> = lines.map(|line| self.with_key_number(line)).collect();
        lines.sort_unstable();
        lines
    }

    /// Partition keys are numbers in the model.
    fn with_key_number(&self, line: String) -> String {
        match line.split_once("key:") {
            None => line,
            Some((before, after)) => {
                let (name, rest) = after.split_once(' ').unwrap_or((after, ""));
                let number = self.keys.iter().position(|key| key == name).unwrap_or(usize::MAX);
                format!("{before}k{number} {rest}")
            }
        }
    }
}

/// Whether a session waits for itself.
fn is_deadlock(start: i32, asked: &[i32], blockers: &[Vec<i32>]) -> bool {
    let mut seen = vec![start];
    let mut at = 0;
    while at < seen.len() {
        let of = asked.iter().position(|pid| *pid == seen[at]).map(|found| &blockers[found]);
        for next in of.into_iter().flatten() {
            if *next == start {
                return true;
            }
            if !seen.contains(next) {
                seen.push(*next);
            }
        }
        at += 1;
    }
    false
}

/// Whether the function that is called has a `lock_timeout` of its own.
fn has_lock_timeout(action: &Action) -> bool {
    use super::action::Call;
    matches!(
        action,
        Action::Call(
            Call::Settle(_)
                | Call::RemoveIdle { .. }
                | Call::ReplayDeliveries { .. }
                | Call::ReplayDeadLetters { .. }
                | Call::Cancel { .. }
        )
    )
}

fn break_class(number: usize) -> i32 {
    BREAKS + i32::try_from(number).unwrap_or(0)
}

fn cells(messages: &[SimpleQueryMessage]) -> Vec<Cells> {
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET search_path = pgtopic").await.unwrap();
    client
}

async fn pid(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

async fn listen(url: &str) -> (Client, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let (sender, heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                let _ = sender.send(notification.payload().to_owned());
            }
        }
    });
    client.batch_execute("LISTEN pgtopic").await.unwrap();
    (client, heard)
}
