//! The parts of a request: body, headers, signature.

mod body;
mod headers;
mod signature;
mod target;
mod traceparent;

pub(in crate::delivery) use self::target::Destination;
pub use self::{
    headers::{HeaderError, check_header},
    signature::{SecretError, SigningKey},
    target::{PrepareError, PreparedTarget},
};
