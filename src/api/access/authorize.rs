//! The check of each request: whether its token permits it.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::header::AUTHORIZATION,
    middleware::Next,
    response::Response,
};

use super::{
    permit::Permit,
    roles::{Right, Role},
    routes::{METRICS, needs},
    tokens::Tokens,
};
use crate::api::error::ApiError;

/// Lets a request through if its sender may make it, and tells the handler what the sender may do.
pub(in crate::api) async fn authorize(
    State(tokens): State<Arc<Tokens>>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // A path without a route does nothing, so nobody needs a token for it.
    let needs = path
        .filter(|path| !(tokens.metrics_open && path.as_str() == METRICS))
        .map(|path| needs(request.method(), path.as_str()));
    let needs = needs.filter(|(right, _)| *right != Right::Open);
    if let Some(needs) = needs {
        let permit = if tokens.is_empty() {
            Permit::new(Role::Admin, Arc::default())
        } else {
            bearer(&request).and_then(|token| tokens.permit(token)).ok_or(ApiError::Unauthorized)?.clone()
        };
        permit.check(needs)?;
        request.extensions_mut().insert(permit);
    }
    Ok(next.run(request).await)
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
