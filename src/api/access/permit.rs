//! What the sender of a request may do.

use std::sync::Arc;

use axum::http::Method;

use super::{
    roles::{Right, Role},
    routes::{Reach, needs},
};
use crate::{api::error::ApiError, domain::scope::TopicScope};

/// What the sender of a request may do.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    role: Role,
    scope: Arc<TopicScope>,
}

impl Permit {
    pub(super) fn new(role: Role, scope: Arc<TopicScope>) -> Self {
        Self { role, scope }
    }

    #[cfg(test)]
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Which topics the sender may see and use.
    pub(crate) fn scope(&self) -> &Arc<TopicScope> {
        &self.scope
    }

    /// The role's word in the settings.
    pub(crate) fn role_name(&self) -> &'static str {
        self.role.as_str()
    }

    /// Checks that the sender may do what a route of the API does.
    pub(crate) fn check_route(&self, method: &Method, route: &str) -> Result<(), ApiError> {
        self.check(needs(method, route))
    }

    /// How the audit log names the sender.
    pub(in crate::api) fn actor(&self) -> &'static str {
        match self.role {
            Role::Admin => "api (admin)",
            Role::Operate => "api (operate)",
            Role::Publish => "api (publish)",
            Role::Read => "api (read)",
            Role::ReadPayloads => "api (read-payloads)",
        }
    }

    /// Whether the sender is shown payloads, and what may repeat a part of one.
    pub(crate) fn sees_payloads(&self) -> bool {
        self.role.sees_payloads()
    }

    /// Checks that the sender may do what needs this.
    pub(super) fn check(&self, (right, reach): (Right, Reach)) -> Result<(), ApiError> {
        if !self.role.may(right) {
            return Err(ApiError::Forbidden(format!(
                "a token of the role {} may not do this",
                self.role.as_str()
            )));
        }
        if reach == Reach::Whole && *self.scope != TopicScope::All {
            return Err(ApiError::Forbidden("a token that is limited to topics may not do this".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_whole_installation_is_not_for_limited_tokens() {
        let limited = Permit::new(Role::Admin, Arc::new(TopicScope::Only(Vec::new())));
        assert!(limited.check((Right::Read, Reach::Whole)).is_err());
        assert!(limited.check((Right::Administer, Reach::OfTopics)).is_ok());
        let whole = Permit::new(Role::Read, Arc::default());
        assert!(whole.check((Right::Read, Reach::Whole)).is_ok());
        assert!(whole.check((Right::Publish, Reach::OfTopics)).is_err());
    }
}
