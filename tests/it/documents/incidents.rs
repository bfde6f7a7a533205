//! The section "Incidents" of `docs/operations.md`: each command and each request that it names is
//! one that there is.

use clap::Parser as _;
use pgtopic::{api, cli::Cli};
use serde_json::Value;

use super::read;

/// What is said of each incident.
const PARTS: [&str; 4] = ["What one sees", "Where to look", "Cure", "Cost"];

fn section() -> String {
    let page = read("docs/operations.md");
    let (_, section) = page.split_once("\n## Incidents\n").expect("there is no section");
    section.split("\n## ").next().unwrap().to_owned()
}

/// The pieces of code of a text: code spans, the lines of blocks, and what follows `#` in them.
fn code(text: &str) -> Vec<String> {
    let (mut found, mut prose) = (Vec::new(), String::new());
    for (place, part) in text.split("```").enumerate() {
        if place % 2 == 0 {
            prose += part;
            continue;
        }
        let lines = part.lines().skip(1).filter(|line| !line.trim().is_empty());
        found.extend(lines.flat_map(|line| line.split('#')).map(str::to_owned));
    }
    found.extend(prose.split('`').skip(1).step_by(2).map(str::to_owned));
    // A span may be broken over two lines.
    found.iter().map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn is_command(code: &str) -> bool {
    code.starts_with("pgtopic ")
}

/// The method and the rest, if this is a request.
fn request(code: &str) -> Option<(&str, &str)> {
    let (method, rest) = code.split_once(' ')?;
    (["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method) && rest.starts_with('/'))
        .then_some((method, rest))
}

/// Checks a request: its route, the names of its parameters, and the fields of its body.
fn check_request(document: &Value, code: &str) {
    let (method, rest) = request(code).unwrap();
    let (target, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let (path, query) =
        target.trim_end_matches(':').split_once('?').unwrap_or((target.trim_end_matches(':'), ""));
    let operation = &document["paths"][path][method.to_lowercase()];
    assert!(operation.is_object(), "there is no {method} {path}");
    for name in query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap()) {
        let mut parameters = operation["parameters"].as_array().unwrap().iter();
        assert!(parameters.any(|one| one["in"] == "query" && one["name"] == name), "{code}: no {name}");
    }
    if body.starts_with('{') {
        let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{code}: {error}"));
        let schema =
            operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
        let fields = &document["components"]["schemas"][schema.rsplit('/').next().unwrap()]["properties"];
        for field in body.as_object().unwrap().keys() {
            assert!(fields[field].is_object(), "{code}: no {field}");
        }
    }
}

#[test]
fn every_command_and_every_request_of_an_incident_exists() {
    let document = api::openapi();
    let (mut commands, mut requests) = (0, 0);
    for code in code(&section()) {
        if is_command(&code) {
            commands += 1;
            assert!(!code.contains(['\'', '"', '<']), "{code}: write it without quotes and placeholders");
            if let Err(error) = Cli::try_parse_from(code.split(' ')) {
                panic!("{code}: {error}");
            }
        } else if request(&code).is_some() {
            requests += 1;
            check_request(&document, &code);
        }
    }
    assert!(commands > 25 && requests > 25, "{commands} commands, {requests} requests");
}

#[test]
fn every_incident_says_where_to_look_by_command_and_by_request_what_helps_and_what_it_costs() {
    let section = section();
    let incidents: Vec<&str> = section.split("\n### ").skip(1).collect();
    assert!(incidents.len() >= 10, "{}", incidents.len());
    for incident in incidents {
        let title = incident.lines().next().unwrap();
        let parts: Vec<(&str, &str)> =
            incident.split("\n- **").skip(1).map(|part| part.split_once(".**").unwrap()).collect();
        assert_eq!(parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), PARTS, "{title}");
        let codes = code(parts[1].1);
        let names_both =
            codes.iter().any(|code| is_command(code)) && codes.iter().any(|code| request(code).is_some());
        assert!(names_both, "{title}: {codes:?}");
    }
}

#[test]
#[should_panic(expected = "there is no GET /nothing")]
fn a_route_that_is_not_there_is_found() {
    check_request(&api::openapi(), "GET /nothing");
}

#[test]
#[should_panic(expected = "no colour")]
fn a_field_that_is_not_there_is_found() {
    check_request(&api::openapi(), r#"POST /sending {"colour": 1}"#);
}
