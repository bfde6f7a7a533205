//! `config/alerts.yml` and the dashboards in `config/grafana`: each metric and label that they use is
//! one that there is, each alert has its paragraph, and the SQL runs.

use std::collections::BTreeSet;

use pgtopic::telemetry::metrics::{self, Kind, Metric};
use pgtopic_testkit::{Scene, promtool};
use serde_json::{Value, json};

use super::read;

/// The metric of a name in an expression, such as `pgtopic_claim_duration_seconds_bucket`.
fn metric(name: &str) -> &'static Metric {
    let is = |metric: &&Metric| {
        let histogram = matches!(metric.kind, Kind::Histogram(_));
        let part = name.strip_prefix(metric.name);
        part.is_some_and(|part| {
            if histogram { ["_bucket", "_sum", "_count"].contains(&part) } else { part.is_empty() }
        })
    };
    metrics::ALL.iter().find(is).unwrap_or_else(|| panic!("there is no metric {name}"))
}

/// Checks the metrics of an expression and their labels. Returns the names of the metrics.
fn check_expression(expression: &str) -> BTreeSet<&'static str> {
    let (mut used, mut labels) = (BTreeSet::new(), BTreeSet::from(["le", "instance"]));
    let word = |text: &str| {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("").to_owned()
    };
    for (at, _) in expression.match_indices("pgtopic_") {
        let name = word(&expression[at..]);
        let metric = metric(&name);
        used.insert(metric.name);
        labels.extend(metric.labels);
        let Some(selectors) = expression[at + name.len()..].strip_prefix('{') else { continue };
        for selector in selectors.split('}').next().unwrap().split(',') {
            let label = word(selector.trim());
            assert!(metric.labels.contains(&&*label), "{name} has no label {label}: {expression}");
        }
    }
    for (at, _) in expression.match_indices("by (") {
        for label in expression[at + 4..].split(')').next().unwrap().split(',') {
            assert!(labels.contains(label.trim()), "no label {label} in {expression}");
        }
    }
    used
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let kept = |c: &char| c.is_ascii_alphanumeric() || "- _".contains(*c);
    let anchor = |heading: &str| {
        heading
            .trim_matches(['#', ' '])
            .to_lowercase()
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    };
    page.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// The rest of the lines that begin with this.
fn values<'a>(text: &'a str, key: &'a str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(key)).map(str::trim).collect()
}

#[test]
fn each_alert_uses_metrics_that_there_are_and_leads_to_its_paragraph() {
    let rules = read("config/alerts.yml");
    let (alerts, runbooks) = (values(&rules, "- alert:"), values(&rules, "runbook:"));
    assert_eq!(alerts.len(), 12);
    let anchors = anchors(&read("docs/operations.md"));
    for (alert, runbook) in alerts.iter().zip(&runbooks) {
        // PgtopicNoWorker has alert-no-worker.
        let words = alert.strip_prefix("Pgtopic").unwrap().chars().fold(
            String::from("alert"),
            |mut words, letter| {
                if letter.is_uppercase() {
                    words.push('-');
                }
                words.extend(letter.to_lowercase());
                words
            },
        );
        assert_eq!(*runbook, format!("docs/operations.md#{words}"));
        assert!(anchors.contains(&words), "docs/operations.md has no paragraph {words}");
    }
    for count in [values(&rules, "expr:").len(), values(&rules, "summary:").len(), runbooks.len()] {
        assert_eq!(count, alerts.len());
    }
    let rules: Vec<&str> = rules.split("- alert:").skip(1).collect();
    for rule in rules {
        let expression = rule.split("expr:").nth(1).unwrap().split("labels:").next().unwrap();
        assert!(!check_expression(expression).is_empty(), "{rule}");
    }
}

#[test]
fn each_alert_fires_when_it_should() {
    let root = env!("CARGO_MANIFEST_DIR");
    let tests = read("tests/it/documents/alerts.yml");
    for alert in values(&read("config/alerts.yml"), "- alert:") {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} is not seen to fire");
        assert!(tests.contains(&format!("alertname: {alert}}}")), "{alert} is not seen to be silent");
    }
    for arguments in
        [["check", "rules", "config/alerts.yml"], ["test", "rules", "tests/it/documents/alerts.yml"]]
    {
        let [first, second, file] = arguments;
        if let Some((well, said)) = promtool(&[first, second, &format!("{root}/{file}")], "") {
            assert!(well, "{said}");
        }
    }
}

/// The queries of a dashboard: the values of this field of each target.
fn queries(dashboard: &str, field: &str) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(dashboard)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_dashboard_for_prometheus_shows_every_metric_and_no_other() {
    let queries = queries("config/grafana/prometheus.json", "expr");
    let used: BTreeSet<&str> = queries.iter().flat_map(|query| check_expression(query)).collect();
    assert_eq!(used, metrics::ALL.iter().map(|metric| metric.name).collect());
    // `promtool` reads each of them as the expression of a rule.
    let rules = queries.iter().enumerate().map(|(number, query)| {
        let query = query.replace("$__rate_interval", "1m");
        json!({"record": format!("query:{number}"), "expr": query})
    });
    let rules = json!({"groups": [{"name": "queries", "rules": rules.collect::<Vec<_>>()}]});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules.to_string()).unwrap();
    if let Some((well, said)) =
        promtool(&["check", "rules", "--lint=none", file.path().to_str().unwrap()], "")
    {
        assert!(well, "{said}");
    }
}

/// Grafana gives a range of time in place of `$__timeFilter(column)`.
#[tokio::test]
async fn the_sql_of_the_dashboard_for_postgresql_runs() {
    let scene = Scene::with_webhook(&[]).await;
    let queries = queries("config/grafana/postgresql.json", "rawSql");
    assert!(queries.len() > 10);
    for query in queries {
        let query = query.replace("$__timeFilter(a.at)", "a.at > now() - interval '3 h'");
        assert!(!query.contains("$_"), "{query}");
        scene.client.query(&query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    }
}
