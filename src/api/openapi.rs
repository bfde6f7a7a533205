//! The parts of the API's description that are not routes.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::error::ProblemSchema;

/// The description that the routes are added to. Title, version and licence are those of the
/// package.
#[derive(OpenApi)]
#[openapi(
    components(schemas(ProblemSchema)),
    modifiers(&BearerToken),
    security(("token" = [])),
    tags(
        (name = "topics", description = "Named streams of messages."),
        (name = "messages", description = "Publishing messages, and reading them."),
        (name = "webhooks", description = "Subscriptions of a URL to a topic."),
        (name = "deliveries", description = "Messages owed to a webhook, and the attempts to deliver them."),
        (name = "dead letters", description = "Deliveries that were given up."),
        (name = "health", description = "For probes. Needs no token."),
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
