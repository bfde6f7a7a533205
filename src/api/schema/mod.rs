//! The JSON that goes in and out: every body and every query string, with its description.
//!
//! A type here has the name of the type in [`crate::domain`] that it stands for. It is converted
//! into that type or from it. If one of the two has a field that the other lacks, the conversion
//! does not compile.

/// An enumeration of `domain`, written as words in JSON.
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
mod headers;
mod message;
mod page;
mod topic;
mod webhook;

use serde::{Deserialize, Deserializer};

pub(super) use self::{dead_letter::*, delivery::*, message::*, page::*, topic::*, webhook::*};

/// Reads a field that may be null. A null is `Some(None)`; a field that is left out is `None`,
/// because of `#[serde(default)]`.
#[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}
