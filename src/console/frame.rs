//! What is around each screen, and the headers of each answer.

use std::time::Duration;

use askama::Template;
use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};

use super::{
    failure::{Failure, Told},
    live::Part,
    place::{Place, ROOT},
};
use crate::broker::BrokerError;

/// How long a page may take.
const PAGE_LIMIT: Duration = Duration::from_secs(2);
/// How long the screen Health may take. Its checks have limits of their own.
const HEALTH_LIMIT: Duration = Duration::from_secs(30);
/// How long a change may take.
const CHANGE_LIMIT: Duration = Duration::from_mins(1);
/// The largest form, in bytes. A larger message is published through the API.
pub(super) const FORM_MAX: usize = 256 * 1024;

/// A part of the console, as the navigation names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    None,
    Now,
    Topics,
    Webhooks,
    Lanes,
    DeadLetters,
    Jobs,
    Workers,
    Health,
}

/// The navigation: section, link, name, and the key that follows `g`.
const SECTIONS: [(Section, &str, &str, char); 8] = [
    (Section::Now, "./", "Now", 'n'),
    (Section::Topics, "topics", "Topics", 't'),
    (Section::Webhooks, "webhooks", "Webhooks", 'w'),
    (Section::Lanes, "lanes", "Lanes", 'l'),
    (Section::DeadLetters, "dead-letters", "Dead letters", 'd'),
    (Section::Jobs, "jobs", "Jobs", 'j'),
    (Section::Workers, "workers", "Workers", 'k'),
    (Section::Health, "health", "Health", 'h'),
];

/// Marks the answer to somebody who may come in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted {
    /// The role of the token; `None` if nobody needs one.
    pub(super) role: Option<&'static str>,
}

/// A screen without what is around it.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    title: String,
    section: Section,
    /// What is sent again and again, if the screen is kept up to date.
    live: Option<String>,
    /// What stays as it is: forms and command lines.
    still: String,
}

impl Screen {
    /// A screen that is kept up to date.
    pub(super) fn live(
        title: impl Into<String>,
        section: Section,
        live: &impl Template,
    ) -> Result<Self, Failure> {
        let live = Some(live.render()?);
        Ok(Self { title: title.into(), section, live, still: String::new() })
    }

    /// A screen that stays as it is.
    pub(super) fn still(
        title: impl Into<String>,
        section: Section,
        still: &impl Template,
    ) -> Result<Self, Failure> {
        Ok(Self { title: title.into(), section, live: None, still: still.render()? })
    }

    /// The same, with what is below, as it is written already.
    pub(super) fn followed_by(self, still: String) -> Self {
        Self { still, ..self }
    }

    /// The same, with something below that stays as it is.
    pub(super) fn with(self, still: &impl Template) -> Result<Self, Failure> {
        Ok(Self { still: still.render()?, ..self })
    }
}

impl IntoResponse for Screen {
    /// [`frame`] makes a page of it.
    fn into_response(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A link of the navigation.
struct Link {
    href: &'static str,
    name: &'static str,
    key: char,
    current: bool,
}

#[derive(Template)]
#[template(path = "layout.html")]
struct Page<'a> {
    title: &'a str,
    root: &'a str,
    here: &'a str,
    nonce: &'a str,
    links: Vec<Link>,
    /// `None` before the login.
    admitted: Option<Admitted>,
    live: Option<&'a str>,
    still: &'a str,
}

#[derive(Template)]
#[template(path = "failure.html")]
struct Wrong<'a> {
    status: u16,
    title: &'a str,
    detail: &'a str,
}

/// How long a request may take, and what is said if it takes longer.
fn limit(method: &Method, path: &str) -> (Duration, Failure) {
    let too_broad = || Failure::from(BrokerError::TooBroad);
    match path.strip_prefix(ROOT) {
        _ if method != Method::GET => (CHANGE_LIMIT, Failure::Unfinished),
        Some("health") => (HEALTH_LIMIT, too_broad()),
        _ => (PAGE_LIMIT, too_broad()),
    }
}

/// Puts each screen, and each failure, into a page. What takes too long is given up.
pub(super) async fn frame(request: Request, next: Next) -> Response {
    let place = Place::of(request.uri());
    let is_part = request.extensions().get::<Part>().is_some();
    let (limit, late) = limit(request.method(), request.uri().path());
    let answer = tokio::time::timeout(limit, next.run(request)).await;
    let mut response = answer.unwrap_or_else(|_| late.into_response());
    let admitted = response.extensions_mut().remove::<Admitted>();
    let screen = response.extensions_mut().remove::<Screen>().or_else(|| wrong(&mut response));
    let Some(screen) = screen else { return response };
    if is_part {
        *response.body_mut() = screen.live.unwrap_or_default().into();
        return response;
    }
    let nonce = format!("{:032x}", rand::random::<u128>());
    match page(&screen, &place, admitted, &nonce) {
        Ok(html) => {
            let (mut parts, _) = response.into_parts();
            parts.headers.remove(header::CONTENT_TYPE);
            parts.headers.remove(header::CONTENT_LENGTH);
            let mut answer = (parts.status, Html(html)).into_response();
            answer.headers_mut().extend(parts.headers);
            let policy = policy(&format!("'self' 'nonce-{nonce}'"));
            answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            answer
        }
        Err(error) => {
            tracing::error!(%error, "a page of the console cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The screen that says what is wrong, if something is.
fn wrong(response: &mut Response) -> Option<Screen> {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let told = response.extensions_mut().remove::<Told>();
    // What cannot be read is refused before a handler sees it.
    let unread = || match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            format!("a form has at most {} KiB; publish a larger message through the API", FORM_MAX / 1024)
        }
        _ => "the request cannot be read".to_owned(),
    };
    let told = told.or_else(|| is_error.then(|| Told { status, detail: unread() }))?;
    let title = told.status.canonical_reason().unwrap_or("Error");
    Screen::still(title, Section::None, &Wrong { status: told.status.as_u16(), title, detail: &told.detail })
        .ok()
}

fn page(
    screen: &Screen,
    place: &Place,
    admitted: Option<Admitted>,
    nonce: &str,
) -> Result<String, askama::Error> {
    let links = SECTIONS.iter().map(|(section, href, name, key)| Link {
        href,
        name,
        key: *key,
        current: *section == screen.section,
    });
    let page = Page {
        title: &screen.title,
        root: &place.root,
        here: &place.here,
        nonce,
        links: links.collect(),
        admitted,
        live: screen.live.as_deref(),
        still: &screen.still,
    };
    page.render()
}

/// What a page may load and do. Nothing comes from elsewhere, and nothing is evaluated.
fn policy(scripts: &str) -> HeaderValue {
    let text = format!(
        "default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).expect("the policy is ASCII")
}

/// Adds the headers that each answer of the console has.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| policy("'none'"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Without a referrer at all, browsers send forms with `Origin: null`.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_may_take_longer_than_a_page_and_may_have_been_done() {
        for (method, path, seconds) in [
            (Method::GET, "/console/", 2),
            (Method::GET, "/console/jobs/health", 2),
            (Method::GET, "/console/health", 30),
            (Method::POST, "/console/webhooks/7/pause", 60),
        ] {
            assert_eq!(limit(&method, path).0.as_secs(), seconds, "{method} {path}");
        }
        let told = |method| {
            let response = limit(&method, "/console/jobs").1.into_response();
            response.extensions().get::<Told>().unwrap().detail.clone()
        };
        assert!(told(Method::POST).contains("It may have been done"));
        assert!(!told(Method::GET).contains("done"));
    }
}
