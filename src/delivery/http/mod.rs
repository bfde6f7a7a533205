//! One HTTP request and its answer, over a connection that was kept or a new one.

mod client;
mod connect;
mod pool;
mod retry_after;

pub(in crate::delivery) use self::client::{Answer, Progress};
pub use self::{
    client::{Client, ClientError},
    retry_after::parse_retry_after,
};
