//! The form of what `pgtopic-bench` reports. Its figures are for an idle machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

use pgtopic_testkit::{Ended, Process};
use serde_json::Value;

async fn bench(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let program = Path::new(env!("CARGO_BIN_EXE_pgtopic-bench"));
    Process::of(program, arguments, environment, |_| {}).wait().await
}

#[tokio::test]
async fn a_quick_drain_is_in_order_and_reports_as_json() {
    // The variable is for other commands. Without the flag, the bench starts its own PostgreSQL.
    let environment = [("DATABASE_URL", "postgresql://127.0.0.1:1/other")];
    let ended = bench(&["--quick", "--json", "drain"], &environment).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
    let line = ended.output.lines().find(|line| line.starts_with('{')).unwrap();
    let report: Value = serde_json::from_str(line).unwrap();
    assert_eq!(report["postgresql"]["fsync"], "on");
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    let scenario = &report["scenarios"][0];
    assert_eq!(scenario["scenario"], "drain");
    assert_eq!(scenario["order_violations"], 0);
    let rows = scenario["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["lanes"].as_u64().unwrap()).collect::<Vec<_>>(), [20, 500, 333]);
    assert_eq!(rows.iter().map(|row| row["webhooks"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 1, 3]);
    for row in rows {
        for figure in ["delivered_per_second", "client_only_per_second", "ratio", "wal_bytes_per_message"] {
            assert!(row[figure].as_f64().unwrap() > 0.0, "{figure} in {row}");
        }
    }
}

#[tokio::test]
async fn an_unknown_scenario_is_wrong_usage() {
    assert_eq!(bench(&["drian"], &[]).await.code(), 2);
}

#[tokio::test]
async fn quick_runs_of_the_other_scenarios_report_their_figures() {
    let ended = bench(&["--quick", "--json", "webhooks", "hanging", "large-payloads", "console"], &[]).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
    let line = ended.output.lines().find(|line| line.starts_with('{')).unwrap();
    let report: Value = serde_json::from_str(line).unwrap();
    let row = |scenario: usize, row: usize| &report["scenarios"][scenario]["rows"][row];
    assert_eq!((&row(0, 0)["webhooks"], &row(0, 1)["webhooks"]), (&1.into(), &20.into()));
    assert_eq!((&row(0, 0)["busy"], &row(0, 1)["busy"]), (&1.into(), &10.into()));
    assert_eq!(row(1, 0)["published"], row(1, 0)["delivered"], "ten webhooks that hang leave slots free");
    for (scenario, figure) in
        [(0, "p99_ms"), (0, "delivered_per_second"), (1, "p90_ms"), (2, "worker_grew_mib"), (3, "ratio")]
    {
        let value = row(scenario, 0)[figure].as_f64().unwrap();
        assert!(value > 0.0, "{figure}: {value}");
    }
    assert!(row(3, 1)["page_bytes"].as_u64().unwrap() > 0, "the page was sent");
}
