//! The parts of a request: where it goes, body, headers, signature.

mod body;
mod headers;
mod identity;
mod signature;
mod target;
mod traceparent;

pub(in crate::delivery) use self::identity::Identity;
pub use self::{
    headers::{HeaderError, check_header},
    signature::{SecretError, SigningKey},
    target::{PrepareError, PreparedTarget},
};
