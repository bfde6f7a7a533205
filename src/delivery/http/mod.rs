//! One HTTP request and its answer, on a kept connection or a new one.

mod client;
mod connect;
mod drivers;
mod keep_alive;
mod pool;
mod retry_after;
mod timely;
mod tls;
mod watched;

pub(in crate::delivery) use self::{
    client::{Answer, ExchangeError, Progress},
    timely::Timely,
};
pub use self::{
    client::{Client, ClientError},
    retry_after::parse_retry_after,
    tls::{TlsSettingsError, check_ca_file},
};
