//! The code of `docs/receiving.md`. The tests take it from the page and run it. They give it
//! requests of pgtopic and hostile requests.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use pgtopic::{
    delivery::{self, AddressGuard, Client, PreparedTarget, SigningKey},
    domain::{
        attempt::Outcome,
        breaker::BreakerPolicy,
        message::Message,
        policy::{OnExhausted, Policy},
        target::Target,
        webhook::Format,
    },
};
use pgtopic_testkit::{Process, SECRET, TestDatabase, eventually};
use rstest::rstest;
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../../docs/receiving.md");

/// The files that the page shows, by name.
fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("\n```").filter_map(|block| {
        let (first, text) = block.split_once('\n')?;
        Some((first.split_once("file=")?.1, text))
    })
}

/// One file of the page.
fn file(name: &str) -> &'static str {
    files().find(|(file, _)| *file == name).unwrap_or_else(|| panic!("the page shows no {name}")).1
}

/// A folder with all files of the page.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files() {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// A program in Python. It reads requests from a file and calls the page's functions for each.
const ASK_PYTHON: &str = r#"
import base64, json, sys
from duplicates import Duplicates
from webhooks import is_signed

with open(sys.argv[1]) as file:
    given = json.load(file)
duplicates = Duplicates()
signed = [is_signed(given["secret"], one["headers"], base64.b64decode(one["body"])) for one in given["signed"]]
new = [duplicates.is_new(headers) for headers in given["new"]]
print(json.dumps({"signed": signed, "new": new}))
"#;

/// The same program for Node.
const ASK_NODE: &str = r#"
import { readFileSync } from "node:fs";
import { Duplicates } from "./duplicates.mjs";
import { isSigned, partitionKey } from "./webhooks.mjs";

const given = JSON.parse(readFileSync(process.argv[2], "utf8"));
const duplicates = new Duplicates();
const signed = given.signed.map((one) => isSigned(given.secret, one.headers, Buffer.from(one.body, "base64")));
given.new.forEach(partitionKey);
const fresh = given.new.map((headers) => duplicates.isNew(headers));
console.log(JSON.stringify({ signed, new: fresh }));
"#;

/// A language of the page: its interpreter, the program that calls the functions, and the receiver.
struct Language {
    program: &'static str,
    ask: (&'static str, &'static str),
    serve: &'static str,
}

const PYTHON: Language = Language { program: "python3", ask: ("ask.py", ASK_PYTHON), serve: "serve.py" };
const NODE: Language = Language { program: "node", ask: ("ask.mjs", ASK_NODE), serve: "serve.mjs" };

impl Language {
    /// What the page's functions answer for these requests: whether each is signed, and whether
    /// each is new.
    fn ask(&self, signed: &[Value], new: &[Value]) -> (Vec<bool>, Vec<bool>) {
        let folder = folder();
        let (name, text) = self.ask;
        std::fs::write(folder.path().join(name), text).unwrap();
        let given = json!({"secret": SECRET, "signed": signed, "new": new});
        std::fs::write(folder.path().join("given.json"), given.to_string()).unwrap();
        let ended = Command::new(self.program)
            .args([name, "given.json"])
            .current_dir(folder.path())
            .output()
            .unwrap_or_else(|error| panic!("{} is needed for this test: {error}", self.program));
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let said: Value = serde_json::from_slice(&ended.stdout).unwrap();
        let of = |key| said[key].as_array().unwrap().iter().map(|one| one.as_bool().unwrap()).collect();
        (of("signed"), of("new"))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A request that is signed for this time.
fn signed_at(timestamp: u64, body: &[u8]) -> Value {
    let signature = SigningKey::parse(SECRET).unwrap().sign("msg_7", timestamp, body);
    json!({
        "headers": {"webhook-id": "msg_7", "webhook-timestamp": timestamp.to_string(), "webhook-signature": signature},
        "body": STANDARD.encode(body),
    })
}

/// The same request with another value of one header.
fn with(mut request: Value, name: &str, value: Value) -> Value {
    request["headers"][name] = value;
    request
}

/// Hostile values of headers. The last ones are not texts, or are what a server makes of bytes that
/// are not UTF-8.
fn hostile() -> Vec<Value> {
    [
        json!(""),
        json!(" "),
        json!("abc"),
        json!("-1"),
        json!("+1"),
        json!("1e3"),
        json!("1.5"),
        json!("1_000"),
        json!("\u{b2}"),
        json!("\u{663}"),
        json!("0x10"),
        json!("NaN"),
        json!("v1"),
        json!("v1,"),
        json!(",,,"),
        json!("v1,%%%"),
        json!("%"),
        json!("9".repeat(5000)),
        json!("a".repeat(100_000)),
        json!("\u{ff}\u{fe}"),
        json!("\u{1f600}"),
        json!(["a", "b"]),
        json!(5),
        json!(null),
    ]
    .into()
}

#[rstest]
#[case::python(&PYTHON)]
#[case::node(&NODE)]
fn a_signed_request_passes_and_no_hostile_request_raises(#[case] language: &Language) {
    let body = "{\"name\": \"\u{fc}\"}".as_bytes();
    let good = signed_at(now(), body);
    let signature = good["headers"]["webhook-signature"].as_str().unwrap().to_owned();
    let good = [
        good.clone(),
        signed_at(now(), b""),
        signed_at(now(), &[0, 255, 128]),
        signed_at(now() - 240, body),
        signed_at(now() + 240, body),
        with(good.clone(), "webhook-signature", json!(format!("v1,bm9uZQ== v2,x {signature}"))),
    ];
    let mut bad = vec![
        json!({"headers": {}, "body": ""}),
        signed_at(now() - 400, body),
        signed_at(now() + 400, body),
        with(good[0].clone(), "webhook-id", json!("msg_8")),
        with(good[0].clone(), "webhook-timestamp", json!((now() + 1).to_string())),
        with(good[0].clone(), "webhook-signature", json!(signature.replace("v1,", "v2,"))),
        with(good[0].clone(), "webhook-signature", json!(signature.to_uppercase())),
    ];
    let mut other = good[0].clone();
    other["body"] = json!(STANDARD.encode(b"{}"));
    bad.push(other);
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut without = good[0].clone();
        without["headers"].as_object_mut().unwrap().remove(name);
        bad.push(without);
        bad.extend(hostile().into_iter().map(|value| with(good[0].clone(), name, value)));
    }
    let (said, _) = language.ask(&[&good[..], &bad].concat(), &[]);
    for (number, (said, request)) in said.iter().zip(good.iter().chain(&bad)).enumerate() {
        assert_eq!(*said, number < good.len(), "{request}");
    }
}

#[rstest]
#[case::python(&PYTHON)]
#[case::node(&NODE)]
fn a_message_is_new_once_for_each_source_subscription_topic_and_partition(#[case] language: &Language) {
    let message = |changes: Value| {
        let mut headers = json!({
            "webhook-id": "msg_10", "webhook-source": "pgtopic", "webhook-subscription": "1", "webhook-topic": "orders",
            "webhook-partition": "a", "webhook-position": "10",
        });
        for (name, value) in changes.as_object().unwrap() {
            headers[name] = value.clone();
        }
        headers
    };
    let unordered = |id: &str| {
        let mut headers = message(json!({"webhook-id": id}));
        headers.as_object_mut().unwrap().remove("webhook-position");
        headers
    };
    // Above 2^53. A floating-point number cannot tell these numbers apart.
    let large = |position: &str| message(json!({"webhook-partition": "b", "webhook-position": position}));
    let steps = [
        (message(json!({})), true),
        (message(json!({})), false),
        (message(json!({"webhook-position": "9"})), false),
        (message(json!({"webhook-position": "11"})), true),
        (message(json!({"webhook-replay": "true"})), true),
        (message(json!({"webhook-source": "other"})), true),
        (message(json!({"webhook-subscription": "2"})), true),
        (message(json!({"webhook-topic": "refunds"})), true),
        (message(json!({"webhook-partition": "A"})), true),
        (message(json!({"webhook-partition": "A"})), false),
        (large("9007199254740993"), true),
        (large("9007199254740992"), false),
        (large("9007199254740994"), true),
        (unordered("msg_20"), true),
        (unordered("msg_19"), true),
        (unordered("msg_20"), false),
    ];
    let hostile: Vec<Value> = ["id", "source", "subscription", "topic", "partition", "position", "replay"]
        .iter()
        .flat_map(|name| {
            hostile().into_iter().map(move |value| {
                let mut headers = json!({"webhook-id": "msg_1", "webhook-position": "1"});
                headers[format!("webhook-{name}")] = value;
                headers
            })
        })
        .chain([json!({})])
        .collect();
    let asked: Vec<Value> = steps.iter().map(|(headers, _)| headers.clone()).chain(hostile).collect();
    let (_, said) = language.ask(&[], &asked);
    assert_eq!(said.len(), asked.len());
    for ((headers, new), said) in steps.iter().zip(said) {
        assert_eq!(said, *new, "{headers}");
    }
}

#[tokio::test]
async fn the_statements_of_the_page_take_each_message_once() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    client.batch_execute(file("duplicates.sql")).await.unwrap();
    let (position, message) = (file("position.sql"), file("message.sql"));
    for (topic, number, new) in [
        ("orders", 10_i64, true),
        ("orders", 10, false),
        ("orders", 9, false),
        ("orders", 11, true),
        ("b", 9, true),
    ] {
        let rows = client.query(position, &[&"pgtopic", &"1", &topic, &"a", &number]).await.unwrap();
        assert_eq!(rows.len(), usize::from(new), "{topic} {number}");
    }
    for (subscription, id, new) in
        [("1", "msg_2", true), ("1", "msg_1", true), ("1", "msg_2", false), ("2", "msg_2", true)]
    {
        let rows = client.query(message, &[&"pgtopic", &subscription, &id]).await.unwrap();
        assert_eq!(rows.len(), usize::from(new), "{subscription} {id}");
    }
}

/// The receiver of the page. It runs as a process.
struct Receiver {
    process: Process,
    address: SocketAddr,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Receiver {
    async fn start(language: &Language) -> Self {
        let folder = folder();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = address.port().to_string();
        let environment = [("PORT", port.as_str()), ("WEBHOOK_SECRET", SECRET)];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path).map(|folder| folder.join(language.program));
        let program = program.into_iter().find(|program| program.exists());
        let program = program.unwrap_or_else(|| panic!("{} is needed for this test", language.program));
        let process = Process::of(Path::new(&program), &[language.serve], &environment, |command| {
            command.current_dir(folder.path());
        });
        eventually("the receiver listens", async || TcpStream::connect(address).ok()).await;
        let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]);
        Self { process, address, client: Client::new(guard, None).unwrap(), _folder: folder }
    }

    async fn send(&self, ordered: bool, id: i64, replay: bool) -> Option<u16> {
        let target = Target {
            name: "billing".to_owned(),
            webhook_id: 1,
            source: "pgtopic".into(),
            topic: if ordered { "orders" } else { "loose" }.to_owned(),
            ordered,
            url: format!("http://{}/", self.address),
            secrets: vec![SECRET.into()],
            headers: Vec::new(),
            format: Format::Raw,
            batch_size: 1,
            policy: Policy {
                max_retries: 1,
                backoff_factor: 1.0,
                max_backoff: Duration::from_secs(1),
                retry_schedule: Vec::new(),
                permanent_statuses: Vec::new(),
                timeout: Duration::from_secs(20),
                on_exhausted: OnExhausted::DeadLetter,
                max_in_flight: None,
                max_age: None,
                latest_only: false,
            },
            rate_limit_per_second: None,
            held_for: None,
            breaker: BreakerPolicy::Auto,
            deliverable: true,
        };
        let message = Message {
            r#type: None,
            replay,
            id,
            partition_key: "user \u{fc}".into(),
            payload: id.to_string().into(),
            headers: None,
            created_at: Timestamp::UNIX_EPOCH,
            born: std::time::Instant::now(),
        };
        let prepared = PreparedTarget::new(&target).unwrap();
        let later = || Some(Instant::now() + Duration::from_hours(1));
        let result = delivery::send(&self.client, &prepared, &[message], 1, None, later).await.unwrap();
        assert_eq!(result.outcome, Outcome::Accepted, "{result:?}");
        result.status_code
    }

    /// The first bytes of the answer to these bytes.
    fn answer(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[rstest]
#[case::python(&PYTHON)]
#[case::node(&NODE)]
#[tokio::test]
async fn the_receiver_of_the_page_accepts_messages_and_survives_hostile_requests(
    #[case] language: &Language,
) {
    let mut receiver = Receiver::start(language).await;
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        for value in [&b""[..], b"\xff\xfe", b"abc", b"\xc2\xb2"] {
            let request = [
                &b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nwebhook-id: a\r\nwebhook-timestamp: 1\r\n"[..],
                name.as_bytes(),
                b": ",
                value,
                b"\r\n\r\n{}",
            ];
            assert_eq!(receiver.answer(&request.concat()), "HTTP/1.1 401", "{name}: {value:?}");
        }
    }
    // The second 2 is a duplicate. The third 2 is a replay.
    for (ordered, id, replay) in [
        (true, 1, false),
        (true, 2, false),
        (true, 2, false),
        (true, 3, false),
        (true, 2, true),
        (false, 9, false),
        (false, 8, false),
        (false, 9, false),
    ] {
        assert_eq!(receiver.send(ordered, id, replay).await, Some(204));
    }
    let output = receiver.process.wait_for_output("user \u{fc} 8").await;
    let expected: String = [1, 2, 3, 2, 9, 8].map(|id| format!("user \u{fc} {id}\n")).concat();
    assert_eq!(output, expected);
}
