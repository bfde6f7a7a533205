//! The model is held to the real server: both run the same scripts, and after each step the answers,
//! who waits, the notifications and all tables must be equal.

mod action;
mod breakers;
mod coverage;
mod functions;
mod generate;
mod guards;
mod model;
mod real;
mod scenarios;
mod script;
mod sql;
mod tests;
mod text;
mod worker_calls;
