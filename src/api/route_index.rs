//! All routes by path: which query parameters they take, and which of them is meant by a path that
//! leads nowhere.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use serde_json::Value;

use crate::domain::{spelling, violation::Violations};

/// Routes that the description does not name.
const UNDESCRIBED: [&str; 3] = ["/", "/docs", "/openapi.json"];

/// All routes. They are read from the description, which is made from the handlers.
pub(super) struct RouteIndex {
    /// The names of the query parameters by path and method.
    parameters: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl RouteIndex {
    /// The routes of a description.
    pub(super) fn of(document: &Value) -> Self {
        let mut parameters: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            let of_path: &mut BTreeMap<_, _> = parameters.entry(path.clone()).or_default();
            for (method, operation) in operations.as_object().into_iter().flatten() {
                let all = operation["parameters"].as_array().into_iter().flatten();
                let names = all.filter(|parameter| parameter["in"] == "query");
                let names = names.filter_map(|parameter| parameter["name"].as_str().map(str::to_owned));
                of_path.insert(method.to_uppercase(), names.collect());
            }
        }
        parameters.extend(UNDESCRIBED.map(|path| (path.to_owned(), BTreeMap::new())));
        Self { parameters }
    }

    /// The methods that a route takes.
    pub(super) fn methods(&self, route: &str) -> Vec<&str> {
        let described = self.parameters.get(route).into_iter().flatten().map(|(method, _)| method.as_str());
        let mut methods: Vec<&str> = described.collect();
        if methods.is_empty() {
            methods.push("GET");
        }
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods
    }

    /// Checks that a route takes all parameters of a query string. A route that the description
    /// does not name takes any.
    pub(super) fn check_query(&self, method: &Method, route: &str, query: &str) -> Result<(), Violations> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let Some(known) = self.parameters.get(route).and_then(|methods| methods.get(method.as_str())) else {
            return Ok(());
        };
        let mut violations = Violations::default();
        for (name, _) in form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !known.contains(&**name))
        {
            let rule = if known.is_empty() {
                "is not a parameter here; there are none".to_owned()
            } else {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                format!("is not a parameter here; these are: {}", known.join(", "))
            };
            violations.add(name, rule);
        }
        violations.finish()
    }

    /// The path that is most likely meant by one that leads nowhere; `None` if none is near. A slash
    /// at the end, other capitals, a prefix such as `/api/v1` and typing errors are seen through.
    pub(super) fn nearest(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let is_prefix = |part: &&&str| **part == "api" || part.strip_prefix('v').is_some_and(is_number);
        let skipped = parts.iter().take_while(is_prefix).count();
        let near = |route: &&String| {
            let template: Vec<&str> = route.split('/').filter(|part| !part.is_empty()).collect();
            let errors = distance(&template, &parts[skipped..])?;
            let parameters = template.iter().filter(|part| part.starts_with('{')).count();
            Some(((errors, parameters), filled(&template, &parts[skipped..])))
        };
        let found = self.parameters.keys().filter_map(|route| near(&route));
        found.min_by_key(|(cost, _)| *cost).map(|(_, nearest)| nearest).filter(|nearest| nearest != path)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// How many letters of a path are not those of a route; `None` if it is another path altogether.
fn distance(template: &[&str], parts: &[&str]) -> Option<usize> {
    if template.len() != parts.len() {
        return None;
    }
    let errors = template.iter().zip(parts).filter(|(expected, _)| !expected.starts_with('{'));
    errors.map(|(expected, part)| spelling::errors(part, expected)).sum()
}

/// The path of a route with the parameters of another path.
fn filled(template: &[&str], parts: &[&str]) -> String {
    let parts = template.iter().zip(parts);
    let parts = parts.map(|(expected, part)| if expected.starts_with('{') { part } else { expected });
    let path = parts.fold(String::new(), |path, part| path + "/" + part);
    if path.is_empty() { "/".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> RouteIndex {
        RouteIndex::of(&crate::api::openapi())
    }

    #[test]
    fn a_near_miss_leads_to_the_path_that_was_meant() {
        for (path, meant) in [
            ("/health", "/healthz"),
            ("/healthz/", "/healthz"),
            ("/ready", "/readyz"),
            ("/topics/", "/topics"),
            ("/Topics", "/topics"),
            ("/topic/orders/", "/topics/orders"),
            ("//topics//orders/message", "/topics/orders/messages"),
            ("/webhook/7/deliverys", "/webhooks/7/deliveries"),
            ("//", "/"),
            ("/api/v1/webhooks/7", "/webhooks/7"),
            ("/dead-letters", "/dead-letter"),
            ("/deadletter/9", "/dead-letter/9"),
            ("/doc", "/docs"),
            ("/openapi.jsn", "/openapi.json"),
        ] {
            assert_eq!(index().nearest(path).as_deref(), Some(meant), "{path}");
        }
        for path in ["/favicon.ico", "/messages", "/wp-login.php", "/topics/a/b/c/d", "/x"] {
            assert_eq!(index().nearest(path), None, "{path}");
        }
    }

    #[test]
    fn a_parameter_that_a_route_does_not_take_is_named() {
        let check = |method, route, query| index().check_query(&method, route, query);
        for (method, route, query) in [
            (Method::GET, "/topics", "limit=5&after=1"),
            (Method::GET, "/topics", ""),
            (Method::HEAD, "/dead-letter", "topic=a&webhook_id=1"),
            (Method::DELETE, "/topics/{topic}", "force=true"),
            (Method::GET, "/docs", "anything=1"),
        ] {
            assert_eq!(check(method, route, query), Ok(()), "{route}?{query}");
        }
        for (method, route, query, field) in [
            (Method::GET, "/topics", "limt=5", "limt"),
            (Method::POST, "/topics", "limit=5", "limit"),
            (Method::GET, "/webhooks/{webhook}", "verbose", "verbose"),
            (Method::GET, "/topics/{topic}", "a=1&b=2", "a"),
        ] {
            let violations = check(method, route, query).unwrap_err().into_vec();
            assert_eq!(violations[0].field, field);
        }
    }
}
