//! What the description of the API says beyond its routes.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::error::ProblemSchema;

/// The description that the routes are added to; title, version and licence are the package's.
#[derive(OpenApi)]
#[openapi(
    components(schemas(ProblemSchema)),
    modifiers(&BearerToken),
    security(("token" = [])),
    tags(
        (name = "topics", description = "Named streams of messages."),
        (name = "messages", description = "Publishing, and what was published."),
        (name = "webhooks", description = "Subscriptions of a URL to a topic."),
        (name = "deliveries", description = "What a webhook was or is owed, and the requests made for it."),
        (name = "dead letters", description = "Deliveries that used up their attempts."),
        (name = "health", description = "For probes; needs no token."),
    )
)]
struct Base;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}
