//! What each route needs. `docs/operations.md` shows the same table; a test compares the two.

use axum::http::Method;

use super::roles::Right;

/// Whether a token that is limited to some topics may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It may: the answer is limited to its topics.
    OfTopics,
    /// It may not: the route is about the whole installation.
    Whole,
}

/// What a request to a route needs.
pub(super) type Needs = (Right, Reach);

/// Every route that is not open to everybody, and what it needs.
pub(super) const ROUTES: &[(&Method, &str, Needs)] = &[
    (&Method::POST, "/topics", (Right::Administer, Reach::OfTopics)),
    (&Method::GET, "/topics", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/topics/{topic}", (Right::Read, Reach::OfTopics)),
    (&Method::PUT, "/topics/{topic}", (Right::Administer, Reach::OfTopics)),
    (&Method::PATCH, "/topics/{topic}", (Right::Administer, Reach::OfTopics)),
    (&Method::DELETE, "/topics/{topic}", (Right::Administer, Reach::OfTopics)),
    (&Method::POST, "/topics/{topic}/pause", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/topics/{topic}/resume", (Right::Operate, Reach::OfTopics)),
    (&Method::GET, "/topics/{topic}/webhooks", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/topics/{topic}/why", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/topics/{topic}/tail", (Right::Read, Reach::OfTopics)),
    (&Method::POST, "/topics/{topic}/messages", (Right::Publish, Reach::OfTopics)),
    (&Method::POST, "/topics/{topic}/messages/batch", (Right::Publish, Reach::OfTopics)),
    (&Method::GET, "/topics/{topic}/messages", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/messages/{id}", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/messages/{id}/why", (Right::Read, Reach::OfTopics)),
    (&Method::POST, "/webhooks", (Right::Administer, Reach::OfTopics)),
    (&Method::GET, "/webhooks", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/webhooks/{webhook}", (Right::Read, Reach::OfTopics)),
    (&Method::PATCH, "/webhooks/{webhook}", (Right::Administer, Reach::OfTopics)),
    (&Method::DELETE, "/webhooks/{webhook}", (Right::Administer, Reach::OfTopics)),
    (&Method::POST, "/webhooks/{webhook}/pause", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/webhooks/{webhook}/resume", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/webhooks/{webhook}/enable", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/webhooks/{webhook}/test", (Right::Operate, Reach::OfTopics)),
    (&Method::GET, "/webhooks/{webhook}/tail", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/webhooks/{webhook}/deliveries", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/webhooks/{webhook}/deliveries/{message_id}", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/webhooks/{webhook}/deliveries/{message_id}/attempts", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/deliveries", (Right::Read, Reach::OfTopics)),
    (&Method::POST, "/webhooks/{webhook}/deliveries/{message_id}/cancel", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/webhooks/{webhook}/deliveries/{message_id}/replay", (Right::Operate, Reach::OfTopics)),
    (&Method::GET, "/webhooks/{webhook}/lanes", (Right::Read, Reach::OfTopics)),
    (&Method::POST, "/webhooks/{webhook}/lanes/retry", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/webhooks/{webhook}/lanes/skip", (Right::Operate, Reach::OfTopics)),
    (&Method::GET, "/dead-letter", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/dead-letter/count", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/dead-letter/groups", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/dead-letter/{id}", (Right::Read, Reach::OfTopics)),
    (&Method::DELETE, "/dead-letter/{id}", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/dead-letter/{id}/replay", (Right::Operate, Reach::OfTopics)),
    (&Method::GET, "/stats", (Right::Read, Reach::Whole)),
    (&Method::GET, "/workers", (Right::Read, Reach::Whole)),
    (&Method::GET, METRICS, (Right::Read, Reach::Whole)),
    (&Method::GET, "/doctor", (Right::Read, Reach::Whole)),
    (&Method::GET, "/sending", (Right::Read, Reach::Whole)),
    (&Method::POST, "/sending", (Right::Operate, Reach::Whole)),
    (&Method::POST, "/webhooks/{webhook}/replay", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/webhooks/{webhook}/cancel", (Right::Operate, Reach::OfTopics)),
    (&Method::GET, "/jobs", (Right::Read, Reach::OfTopics)),
    (&Method::GET, "/jobs/{id}", (Right::Read, Reach::OfTopics)),
    (&Method::POST, "/jobs/{id}/cancel", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/dead-letter/replay", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/dead-letter/discard", (Right::Operate, Reach::OfTopics)),
    (&Method::POST, "/purge", (Right::Administer, Reach::Whole)),
];

/// The route of the metrics. With `api.metrics_open` everybody may use it.
pub(super) const METRICS: &str = "/metrics";

/// The routes that everybody may use.
pub(super) const OPEN: [&str; 4] = ["/", "/healthz", "/readyz", "/openapi.json"];

/// What a request to a route needs. A route that is not named here is for administrators alone.
pub(super) fn needs(method: &Method, route: &str) -> Needs {
    if OPEN.contains(&route) || route == "/docs" || route.starts_with("/docs/") {
        return (Right::Open, Reach::Whole);
    }
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let found = ROUTES.iter().find(|(of, path, _)| *of == method && *path == route);
    found.map_or((Right::Administer, Reach::Whole), |(_, _, needs)| *needs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::roles::Role, *};

    /// The routes of the description, which is made from the handlers.
    fn described() -> BTreeSet<String> {
        let document = crate::api::openapi();
        let paths = document["paths"].as_object().unwrap();
        let methods = |(path, operations): (&String, &serde_json::Value)| {
            let methods = operations.as_object().unwrap().keys();
            methods.map(|method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
        };
        paths.iter().flat_map(methods).collect()
    }

    #[test]
    fn every_route_has_its_entry_and_every_entry_its_route() {
        let open = OPEN.iter().map(|path| format!("GET {path}"));
        let named: BTreeSet<String> =
            ROUTES.iter().map(|(method, path, _)| format!("{method} {path}")).chain(open).collect();
        let described = described();
        let missing: Vec<_> = described.difference(&named).collect();
        assert!(missing.is_empty(), "say in ROUTES what these need, and in docs/operations.md: {missing:?}");
        let gone: Vec<_> = named.difference(&described).collect();
        assert_eq!(gone, ["GET /", "GET /openapi.json"], "in ROUTES or OPEN, and no route");
    }

    #[test]
    fn a_route_without_an_entry_is_for_unlimited_administrators() {
        assert_eq!(needs(&Method::GET, "/a/route/of/tomorrow"), (Right::Administer, Reach::Whole));
        assert_eq!(needs(&Method::PUT, "/topics"), (Right::Administer, Reach::Whole));
        assert_eq!(needs(&Method::HEAD, "/topics").0, Right::Read);
        assert_eq!(needs(&Method::GET, "/docs/{*rest}").0, Right::Open);
        assert_eq!(needs(&Method::GET, "/docsx").0, Right::Administer);
    }

    /// The routes whose answers hold payloads, or what may repeat a part of one.
    const SHOW_PAYLOADS: [&str; 3] =
        ["/messages/{id}", "/webhooks/{webhook}/deliveries/{message_id}/attempts", "/dead-letter/{id}"];

    /// The row of a route in the table of `docs/operations.md`.
    fn row(method: &Method, path: &str, (right, _): Needs) -> String {
        let cells = Role::ALL.map(|role| match (role.may(right), role.sees_payloads()) {
            (false, _) => "",
            (true, false) if SHOW_PAYLOADS.contains(&path) => "without payloads",
            (true, _) => "yes",
        });
        format!("| `{method} {path}` | {} |", cells.join(" | ")).replace("|  ", "| ")
    }

    #[test]
    fn the_table_of_the_documentation_is_this_one() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"));
        let rows: Vec<&str> = text
            .lines()
            .filter(|line| Role::ALL.len() + 2 == line.matches('|').count() && line.starts_with("| `"))
            .filter(|line| line.contains(" /"))
            .collect();
        let expected: Vec<String> =
            ROUTES.iter().map(|(method, path, needs)| row(method, path, *needs)).collect();
        assert_eq!(rows, expected, "the table should be:\n{}\n", expected.join("\n"));
    }
}
