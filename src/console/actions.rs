//! What can be done on a screen, and the command lines that do the same.

use askama::Template;
use axum::http::Method;
use serde_json::Value;

use super::visitor::ApiAddress;
use crate::{
    api::schema::Remedy,
    domain::shell::{quote, visible_json},
};

/// The same as an action, as lines for a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) curl: Option<String>,
    pub(super) cli: String,
}

/// A form with one button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) label: &'static str,
    /// Where the form is sent, as seen from the folder of the console.
    pub(super) href: String,
    /// What follows.
    pub(super) consequence: String,
    /// Whether it cannot be taken back.
    pub(super) danger: bool,
    pub(super) lines: Lines,
}

/// The actions of a screen, which is nothing if there are none.
#[derive(Template)]
#[template(path = "actions.html")]
pub(super) struct Actions {
    pub(super) actions: Vec<Action>,
}

/// A request of the API as a line for a shell. `path` must be safe in a URL.
pub(super) fn curl(api: &ApiAddress, method: &Method, path: &str, body: Option<&str>) -> String {
    let mut line = "curl".to_owned();
    if *method != Method::GET {
        line.push_str(" -X ");
        line.push_str(method.as_str());
    }
    if api.token {
        line.push_str(" -H \"Authorization: Bearer $PGTOPIC_TOKEN\"");
    }
    if let Some(body) = body {
        // Unlike `--data`, this never reads a file that a body beginning with `@` would name.
        line.push_str(" -H 'content-type: application/json' --data-raw ");
        line.push_str(&quote(&visible_json(body)));
    }
    line.push(' ');
    line.push_str(&quote(&format!("{}{path}", api.base)));
    line
}

impl Lines {
    pub(super) fn new(
        api: &ApiAddress,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        cli: impl Into<String>,
    ) -> Self {
        let body = body.map(Value::to_string);
        Self { curl: Some(curl(api, method, path, body.as_deref())), cli: cli.into() }
    }
}

/// What an operator can do, as the answers to "why" say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advice {
    pub(super) text: &'static str,
    pub(super) lines: Option<Lines>,
}

impl Advice {
    pub(super) fn of(remedy: Remedy, api: &ApiAddress) -> Self {
        let Remedy { text, method, path, body, command } = remedy;
        let method = method.and_then(|method| method.parse::<Method>().ok());
        let body = body.map(|body| body.to_string());
        let curl = method.zip(path).map(|(method, path)| curl(api, &method, &path, body.as_deref()));
        Self { text, lines: command.map(|cli| Lines { curl, cli }) }
    }
}

impl Action {
    /// The button of a remedy that can be taken back. `None` if no command does it.
    pub(super) fn of(
        label: &'static str,
        href: String,
        consequence: String,
        remedy: Remedy,
        api: &ApiAddress,
    ) -> Option<Self> {
        let lines = Advice::of(remedy, api).lines?;
        Some(Self { label, href, consequence, danger: false, lines })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn api(token: bool) -> ApiAddress {
        ApiAddress { base: "http://localhost:8000".to_owned(), token }
    }

    #[test]
    fn a_line_asks_for_what_the_button_does() {
        let line = curl(&api(false), &Method::POST, "/webhooks/7/pause", None);
        assert_eq!(line, "curl -X POST http://localhost:8000/webhooks/7/pause");
        let line = curl(&api(true), &Method::GET, "/messages/7", None);
        assert_eq!(line, "curl -H \"Authorization: Bearer $PGTOPIC_TOKEN\" http://localhost:8000/messages/7");
    }

    #[test]
    fn foreign_text_stays_text() {
        let body = json!({"partition_key": "'; touch x\n@/etc/passwd\u{202e}"});
        let lines = Lines::new(&api(false), &Method::POST, "/webhooks/7/lanes/retry", Some(&body), "");
        let curl = lines.curl.unwrap();
        assert!(
            curl.contains(r#"--data-raw '{"partition_key":"'\''; touch x\n@/etc/passwd\u202e"}'"#),
            "{curl}"
        );
        let mut evil = api(false);
        evil.base = "http://a'; touch x #".to_owned();
        assert!(super::curl(&evil, &Method::GET, "/", None).ends_with(r"'http://a'\''; touch x #/'"));
    }
}
