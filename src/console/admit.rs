//! Who may come in: the host that a request names, the page that sent it, and its session.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Redirect, Response},
};
use sha2::{Digest as _, Sha256};

use super::{
    failure::Failure,
    frame::Admitted,
    live::{Live, wants_stream},
    place::{Place, ROOT},
};
use crate::{
    api::{ApiState, Gate, Permit},
    broker::Broker,
    config::Shown,
};

/// The cookie of a session. It names no path, so it belongs to the folder of the console, behind
/// whatever prefix.
pub(super) const COOKIE: &str = "pgtopic_session";

/// What every handler gets.
#[derive(Clone)]
pub(super) struct ConsoleState {
    /// Handlers ask [`super::visitor::Visitor`] for it.
    pub(super) broker: Broker,
    pub(super) gate: Gate,
    pub(super) live: Arc<Live>,
    /// The settings of this process.
    pub(super) settings: Arc<Vec<Shown>>,
}

impl ConsoleState {
    pub(super) fn new(api: &ApiState, settings: Vec<Shown>) -> Self {
        let broker = api.broker().clone();
        let live = Arc::new(Live::new(broker.clone()));
        Self { live, broker, gate: api.gate(), settings: Arc::new(settings) }
    }
}

/// Lets a request through if its sender may come in. Others are led to the login.
pub(super) async fn admit(State(state): State<ConsoleState>, mut request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    if let Err(error) = state.gate.check_origin(&method, request.version(), &uri, request.headers()) {
        return Failure::from(error).into_response();
    }
    if is_public(uri.path()) {
        return next.run(request).await;
    }
    match permit(&state, request.headers()).await {
        Err(failure) => failure.into_response(),
        Ok(Some(permit)) => {
            request.extensions_mut().insert(permit.clone());
            let mut response = next.run(request).await;
            let role = (!state.gate.is_open()).then(|| permit.role_name());
            response.extensions_mut().insert(Admitted { role });
            response
        }
        Ok(None) if wants_stream(&request) => StatusCode::UNAUTHORIZED.into_response(),
        Ok(None) => {
            let place = Place::of(&uri);
            let wanted = if method == Method::GET { place.here.as_str() } else { "" };
            Redirect::to(&format!("{}login?{}", place.root, query("next", wanted))).into_response()
        }
    }
}

/// A query string of one field.
fn query(name: &str, value: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}

/// Whether everybody may ask for it.
fn is_public(path: &str) -> bool {
    // What is not below the root is `/console` alone, which leads there.
    let below = path.strip_prefix(ROOT);
    below.is_none_or(|below| below == "login" || below.starts_with("assets/"))
}

/// What the sender of a request may do; `None` if the sender must log in.
async fn permit(state: &ConsoleState, headers: &HeaderMap) -> Result<Option<Permit>, Failure> {
    if let Some(permit) = state.gate.open_permit() {
        return Ok(Some(permit));
    }
    let Some(session) = session(headers) else { return Ok(None) };
    let token = state.broker.find_login(&session).await?;
    Ok(token.and_then(|token| state.gate.permit_of(&token)))
}

/// The hash of the session that a request names.
pub(super) fn session(headers: &HeaderMap) -> Option<[u8; 32]> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| hash(value))
}

/// What is kept of a cookie.
pub(super) fn hash(cookie: &str) -> [u8; 32] {
    Sha256::digest(cookie.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_among_other_cookies() {
        let headers = |cookie: &str| HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]);
        assert_eq!(session(&headers("a=b; pgtopic_session=x; c=d")), Some(hash("x")));
        assert_eq!(session(&headers("xpgtopic_session=x")), None);
        assert_eq!(session(&HeaderMap::new()), None);
    }

    #[test]
    fn nothing_but_the_login_and_the_files_of_the_browser_is_public() {
        for public in ["/console", "/console/login", "/console/assets/console.css"] {
            assert!(is_public(public), "{public}");
        }
        for private in ["/console/", "/console/logins", "/console/logout", "/console/messages/1"] {
            assert!(!is_public(private), "{private}");
        }
    }
}
