//! Logs in and out. Whoever has a token of the settings gets a cookie that stands for it.

use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{
    admit::{COOKIE, ConsoleState, hash, session},
    failure::Failure,
    frame::{Screen, Section},
};
use crate::broker::LOGIN_LASTS;

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    next: &'a str,
    refused: bool,
}

/// Where the login leads.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    next: String,
}

/// The form.
#[derive(Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn show(Query(wanted): Query<Wanted>) -> Result<Screen, Failure> {
    screen(&wanted.next, false)
}

fn screen(next: &str, refused: bool) -> Result<Screen, Failure> {
    Screen::still("Log in", Section::None, &Login { next, refused })
}

pub(super) async fn log_in(
    State(state): State<ConsoleState>,
    headers: HeaderMap,
    Form(given): Form<Given>,
) -> Result<Response, Failure> {
    let Some(token) = state.gate.digest_of_known(given.token.trim()) else {
        return Ok((StatusCode::UNAUTHORIZED, screen(&given.next, true)?).into_response());
    };
    let value = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    state.broker.log_in(&hash(&value), &token).await?;
    let cookie = cookie(&value, LOGIN_LASTS.as_secs(), is_https(&headers));
    Ok((cookie, Redirect::to(&format!("./{}", inside(&given.next)))).into_response())
}

pub(super) async fn log_out(
    State(state): State<ConsoleState>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if let Some(session) = session(&headers) {
        state.broker.log_out(&session).await?;
    }
    Ok((cookie("", 0, is_https(&headers)), Redirect::to("login")).into_response())
}

/// The page that was wanted, if it is one of the console; otherwise the first page.
fn inside(next: &str) -> &str {
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\#".contains(&byte));
    let path = next.split('?').next().unwrap_or_default();
    let within = !path.starts_with('/') && path.split('/').all(|part| part != "..");
    if plain && within { next } else { "" }
}

/// Whether the browser uses https: a proxy says so, or the origin of the page that sent the form.
fn is_https(headers: &HeaderMap) -> bool {
    let begins = |name: HeaderName, scheme: &[u8]| {
        headers.get(name).is_some_and(|value| value.as_bytes().starts_with(scheme))
    };
    begins(header::ORIGIN, b"https:") || begins(HeaderName::from_static("x-forwarded-proto"), b"https")
}

fn cookie(value: &str, seconds: u64, secure: bool) -> [(HeaderName, HeaderValue); 1] {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    [(header::SET_COOKIE, HeaderValue::from_str(&text).expect("the value is base64"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_no_other_site() {
        for page in ["", "topics/orders?type=a%20b", "messages/12", "dead-letters?until=2026-11-30T00:00:00Z"]
        {
            assert_eq!(inside(page), page);
        }
        for other in
            ["/etc", "//evil.example", "../docs", "a/../../b", "\\\\evil.example", "a b", "topics\r\nx: y"]
        {
            assert_eq!(inside(other), "", "{other}");
        }
        // It stands behind `./`, so this is a page of the console that does not exist.
        assert_eq!(inside("https://evil.example"), "https://evil.example");
    }
}
