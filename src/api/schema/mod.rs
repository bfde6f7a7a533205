//! The JSON that goes in and out: every body and every query string, with its description.
//!
//! A type here has the name of the type in [`crate::domain`] that it stands for. It is converted
//! into that type or from it. If one of the two has a field that the other lacks, the conversion
//! does not compile.

/// An enumeration of `domain`, written as words in JSON.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident of $domain:ty { $($(#[$about:meta])* $variant:ident),+ $(,)? }) => {
        #[derive(Debug, Clone, Copy, serde::Serialize, utoipa::ToSchema)]
        $(#[$meta])*
        pub(crate) enum $name {
            $($(#[$about])* $variant),+
        }

        // By hand: the derived one takes an object with one field, too.
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
                type Domain = $domain;
                let words = Domain::ALL.map(Domain::as_str).join(", ");
                let found: Domain = value.deserialize_str($crate::api::schema::WordVisitor(words, Domain::parse))?;
                Ok(found.into())
            }
        }

        impl From<$name> for $domain {
            fn from(word: $name) -> Self {
                match word {
                    $($name::$variant => Self::$variant),+
                }
            }
        }

        impl From<$domain> for $name {
            fn from(word: $domain) -> Self {
                type Domain = $domain;
                match word {
                    $(Domain::$variant => Self::$variant),+
                }
            }
        }
    };
}

mod bulk;
mod dead_letter;
mod delivery;
mod doctor;
mod headers;
mod health;
mod job;
mod lane;
mod message;
mod number;
mod page;
mod place;
mod sending;
mod stats;
mod tail;
mod test_request;
mod topic;
mod webhook;
mod webhook_changes;
mod why;
mod worker;

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

pub(crate) use self::{
    bulk::*, dead_letter::*, delivery::*, doctor::*, health::*, job::*, lane::*, message::*, page::*,
    place::*, sending::*, stats::*, tail::*, test_request::*, topic::*, webhook::*, webhook_changes::*,
    why::*, worker::*,
};

/// Reads one of several words, which are listed for people.
struct WordVisitor<T>(String, fn(&str) -> Option<T>);

impl<T> Visitor<'_> for WordVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", self.0)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
        (self.1)(word).ok_or_else(|| E::custom(format_args!("must be one of {}", self.0)))
    }
}

/// Reads a field that may be null. A null is `Some(None)`; a field that is left out is `None`,
/// because of `#[serde(default)]`.
#[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}
