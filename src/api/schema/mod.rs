//! The JSON that goes in and out: every body and every query, with its description.
//!
//! Types here have the names of the words in [`crate::domain`] that they stand for, and turn into
//! them or come from them. A field that the one has and the other lacks does not compile.

/// An enumeration of `domain`, as the words of JSON.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident of $domain:ty { $($(#[$about:meta])* $variant:ident),+ $(,)? }) => {
        #[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        $(#[$meta])*
        pub(crate) enum $name {
            $($(#[$about])* $variant),+
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

mod dead_letter;
mod delivery;
mod message;
mod page;
mod topic;
mod webhook;

use serde::{Deserialize, Deserializer};

pub(super) use self::{dead_letter::*, delivery::*, message::*, page::*, topic::*, webhook::*};

/// Tells a field that is null (`Some(None)`) from one that is left out (`None`, by
/// `#[serde(default)]`).
#[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}
