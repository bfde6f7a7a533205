//! The console in a real browser: `tests/browser` walks through it in Chromium, as an operator does.
//!
//! It needs Node 20 or newer, Chromium, and what `npm ci` in `tests/browser` fetches. Without them it is
//! skipped, and says so, unless `PGTOPIC_TEST_BROWSER` is set.

use std::path::{Path, PathBuf};

use pgtopic_testkit::{Http, Process, TestDatabase, pgtopic_binary};
use serde_json::json;

/// `role:token` for the processes, and the same for the browser.
const TOKENS: [(&str, &str); 3] = [("admin", "all"), ("operate", "operator"), ("read", "reader")];

/// The program in a folder of `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[tokio::test]
async fn operators_find_their_way_in_chromium() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let lacks = [
        ("node", find("node").is_none()),
        ("psql", find("psql").is_none()),
        ("chromium", find("chromium").is_none() && std::env::var_os("CHROMIUM").is_none()),
        ("npm ci in tests/browser", !home.join("node_modules").is_dir()),
    ];
    if let Some((what, _)) = lacks.iter().find(|(_, lacks)| *lacks) {
        assert!(std::env::var_os("PGTOPIC_TEST_BROWSER").is_none(), "there is no {what}");
        eprintln!("!!!! SKIPPED: the flows in a browser: there is no {what}");
        return;
    }
    let database = TestDatabase::new().await;
    let tokens = TOKENS.map(|(role, token)| format!("{role}:{token}")).join(",");
    let mut environment = database.environment();
    environment.extend([
        ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("PGTOPIC_API__BIND", "127.0.0.1:0"),
        ("PGTOPIC_API__TOKENS", &tokens),
        ("PGTOPIC_API__ALLOWED_HOSTS", "console.test"),
    ]);
    let mut serve = Process::start(&["serve"], &environment);
    let mut api = Process::start(&["api"], &environment);
    let setup = json!({
        "serve": Http::of(&mut serve).await.address(),
        "api": Http::of(&mut api).await.address(),
        "tokens": TOKENS.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "database": database.url(),
        "bin": pgtopic_binary().parent(),
    });
    let ended = tokio::process::Command::new("node")
        .args(["--test", "--test-concurrency=1"])
        .current_dir(&home)
        .env("PGTOPIC_BROWSER", setup.to_string())
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{output}{}\n{}", String::from_utf8_lossy(&ended.stderr), serve.output());
    assert!(output.contains("# pass "), "{output}");
    serve.stop().await;
    api.stop().await;
}
