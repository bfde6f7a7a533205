//! The tokens of the settings, each `role:token` or `role@topics:token`.
//!
//! Only digests of tokens are kept. So a comparison takes the same time for all tokens, and tells
//! nothing about a token or its length.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{permit::Permit, roles::Role};
use crate::{
    api::config_error::ApiConfigError,
    domain::scope::{TopicPattern, TopicScope},
};

/// The accepted tokens. If there are none, everybody who can connect may do everything.
pub(in crate::api) struct Tokens {
    known: Vec<(Permit, [u8; 32])>,
    /// Whether nobody needs one to read the metrics.
    pub(super) metrics_open: bool,
}

/// A token as the settings have it.
struct Entry {
    role: Role,
    scope: TopicScope,
    digest: [u8; 32],
    index: usize,
}

impl Tokens {
    pub(in crate::api) fn new(tokens: &[SecretString]) -> Result<Self, ApiConfigError> {
        let mut entries: Vec<Entry> = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            let refuse = |rule| ApiConfigError::Token { index, rule };
            let entry = Entry::parse(token.expose_secret(), index).map_err(refuse)?;
            match entries.iter_mut().find(|earlier| earlier.digest == entry.digest) {
                Some(earlier) => earlier.add(entry)?,
                None => entries.push(entry),
            }
        }
        let permit = |entry: Entry| (Permit::new(entry.role, Arc::new(entry.scope)), entry.digest);
        Ok(Self { known: entries.into_iter().map(permit).collect(), metrics_open: false })
    }

    /// The same, and nobody needs a token to read the metrics if `open`.
    pub(in crate::api) fn with_metrics_open(self, open: bool) -> Self {
        Self { metrics_open: open, ..self }
    }

    /// Whether nobody needs a token.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What the bearer of a token may do; `None` if the token is unknown.
    pub(super) fn permit(&self, token: &str) -> Option<&Permit> {
        let given = digest(token);
        self.known.iter().find(|(_, known)| known.ct_eq(&given).into()).map(|(permit, _)| permit)
    }
}

impl Entry {
    /// Reads an entry of the list. The rule that it breaks shows nothing of it.
    fn parse(text: &str, index: usize) -> Result<Self, &'static str> {
        let (granted, token) = text.split_once(':').ok_or("must be role:token, or role@topics:token")?;
        let (role, topics) = match granted.trim().split_once('@') {
            Some((role, topics)) => (role, Some(topics)),
            None => (granted.trim(), None),
        };
        let role = Role::parse(role)
            .ok_or("must begin with a role: admin, operate, publish, read or read-payloads")?;
        let scope = match topics {
            None => TopicScope::All,
            Some(topics) => {
                let pattern = TopicPattern::parse(topics).ok_or(
                    "must name a topic after @, or the beginning of topics' names with * at the end",
                )?;
                TopicScope::Only(vec![pattern])
            }
        };
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must have a token of visible ASCII without spaces after the colon");
        }
        Ok(Self { role, scope, digest: digest(token), index })
    }

    /// Adds the topics of a later entry that has the same token.
    fn add(&mut self, later: Self) -> Result<(), ApiConfigError> {
        let refuse = |rule| ApiConfigError::Repeated { index: later.index, earlier: self.index, rule };
        if self.role != later.role {
            return Err(refuse("under another role"));
        }
        match (&mut self.scope, later.scope) {
            (TopicScope::Only(patterns), TopicScope::Only(more)) => patterns.extend(more),
            _ => return Err(refuse("which has all topics")),
        }
        Ok(())
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(texts: &[&str]) -> Result<Tokens, ApiConfigError> {
        Tokens::new(&texts.iter().map(|text| SecretString::from(*text)).collect::<Vec<_>>())
    }

    #[test]
    fn a_token_has_its_role_and_no_other_does() {
        let tokens = tokens(&["admin:a:b", "operate:o", "publish:p", "read:r", "read-payloads:rp"]).unwrap();
        let role = |token| tokens.permit(token).map(Permit::role);
        assert_eq!(role("a:b"), Some(Role::Admin));
        assert_eq!(role("o"), Some(Role::Operate));
        assert_eq!(role("p"), Some(Role::Publish));
        assert_eq!(role("r"), Some(Role::Read));
        assert_eq!(role("rp"), Some(Role::ReadPayloads));
        for stranger in ["", "a", "a:b ", "admin:a:b"] {
            assert_eq!(role(stranger), None, "{stranger:?}");
        }
    }

    #[test]
    fn a_token_may_be_limited_to_topics_and_to_several() {
        let tokens = tokens(&["publish@orders.*:p", "read:r", "publish@invoices:p"]).unwrap();
        let scope = tokens.permit("p").unwrap().scope();
        for (topic, contained) in
            [("orders.eu", true), ("invoices", true), ("orders", false), ("invoices.eu", false)]
        {
            assert_eq!(scope.contains(topic), contained, "{topic}");
        }
        assert_eq!(**tokens.permit("r").unwrap().scope(), TopicScope::All);
    }

    #[test]
    fn a_bad_token_is_named_by_its_place_alone() {
        for bad in [
            "sesame",
            "sesame:x",
            "root:sesame",
            "admin:",
            "read:open sesame",
            "read:s\u{e9}same",
            "Admin:sesame",
            "admin sesame:",
            "publish@or*ders:sesame",
            "publish@:sesame",
            "publish@sesame sesame:x",
            "sesame@orders:x",
            "@orders:sesame",
        ] {
            let error = tokens(&["read:fine", bad]).err().unwrap().to_string();
            assert!(error.starts_with("api.tokens[1] must "), "{error}");
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn one_token_under_two_roles_is_refused() {
        for (first, second, rule) in [
            ("read:sesame", "admin:sesame", "under another role"),
            ("read@a:sesame", "read-payloads@b:sesame", "under another role"),
            ("read:sesame", "read:sesame", "which has all topics"),
            ("read@orders:sesame", "read:sesame", "which has all topics"),
        ] {
            let error = tokens(&[first, "publish:other", second]).err().unwrap().to_string();
            assert_eq!(error, format!("api.tokens[2] is the same token as api.tokens[0], {rule}"));
        }
    }
}
