//! What is measured. Each scenario has a file.

mod backlog;
mod console;
mod dead_endpoint;
mod drain;
mod hanging;
mod held_snapshot;
mod hot_lane;
mod large_payloads;
mod latency;
mod publish;
mod slow_receiver;
mod sustained;
mod webhooks;
mod workers;

use clap::ValueEnum;

use super::{Bench, CliError, report::Report};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// How fast clients publish, beside the same inserts into a bare table
    Publish,
    /// How fast a worker delivers what is owed, beside the same client without a database
    Drain,
    /// Publishers and a worker at the same time
    Sustained,
    /// How long a message is on its way, beside the smallest loop of INSERT, NOTIFY and POST
    Latency,
    /// A few lanes and a receiver that takes 20 ms to answer
    SlowReceiver,
    /// Everything in one partition
    HotLane,
    /// One, two and four worker processes
    Workers,
    /// Whether a large backlog makes a delivery dearer
    Backlog,
    /// What an endpoint that never answers costs a healthy one
    DeadEndpoint,
    /// Whether an old snapshot makes a delivery dearer
    HeldSnapshot,
    /// One, 1,000 and 10,000 webhooks, of which ten are busy
    Webhooks,
    /// What 150 webhooks that never answer cost a good one
    Hanging,
    /// The memory of a worker that sends payloads of 1 MiB to slow receivers
    LargePayloads,
    /// What a page of the console costs that is open during a drain
    Console,
}

impl Scenario {
    /// As it is typed.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(super) async fn run(self, bench: &Bench) -> Result<Report, CliError> {
        match self {
            Self::Publish => Box::pin(publish::run(bench)).await,
            Self::Drain => Box::pin(drain::run(bench)).await,
            Self::Sustained => Box::pin(sustained::run(bench)).await,
            Self::Latency => Box::pin(latency::run(bench)).await,
            Self::SlowReceiver => Box::pin(slow_receiver::run(bench)).await,
            Self::HotLane => Box::pin(hot_lane::run(bench)).await,
            Self::Workers => Box::pin(workers::run(bench)).await,
            Self::Backlog => Box::pin(backlog::run(bench)).await,
            Self::DeadEndpoint => Box::pin(dead_endpoint::run(bench)).await,
            Self::HeldSnapshot => Box::pin(held_snapshot::run(bench)).await,
            Self::Webhooks => Box::pin(webhooks::run(bench)).await,
            Self::Hanging => Box::pin(hanging::run(bench)).await,
            Self::LargePayloads => Box::pin(large_payloads::run(bench)).await,
            Self::Console => Box::pin(console::run(bench)).await,
        }
    }
}
