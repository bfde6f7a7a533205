//! Changes of state: the audit log.

use uuid::Uuid;

use super::words::stored_words;

/// How the audit log names a worker that has made a change.
pub fn worker_actor(worker: Uuid) -> String {
    format!("worker {worker}")
}

stored_words! {
    /// What has changed.
    pub enum ChangeKind {
        /// A webhook that answered fails now.
        WebhookFailing = "webhook.failing",
        /// A webhook that failed answers again.
        WebhookRecovered = "webhook.recovered",
        /// A webhook was disabled: its receiver answered 410 Gone, or no request can be made.
        WebhookDisabled = "webhook.disabled",
        /// A disabled webhook was enabled.
        WebhookEnabled = "webhook.enabled",
        /// A webhook was paused.
        WebhookPaused = "webhook.paused",
        /// A pause of a webhook has ended.
        WebhookResumed = "webhook.resumed",
        /// A webhook that was starting is active.
        WebhookStarted = "webhook.started",
        /// A webhook's breaker has opened: nothing is sent but probes.
        WebhookOpen = "webhook.open",
        /// A webhook's breaker has closed.
        WebhookClosed = "webhook.closed",
        /// A webhook is owed more than it may be.
        WebhookOverflowing = "webhook.overflowing",
        /// A webhook is owed clearly less than it may be again.
        WebhookOverflowEnded = "webhook.overflow_ended",
        /// A topic was paused.
        TopicPaused = "topic.paused",
        /// A pause of a topic has ended.
        TopicResumed = "topic.resumed",
        /// A lane was halted: its head used up its attempts.
        LaneHalted = "lane.halted",
        /// A halted lane was released.
        LaneResumed = "lane.resumed",
        /// Deliveries were given up.
        DeliveryExhausted = "delivery.exhausted",
        /// A worker was taken for dead or hung.
        WorkerLost = "worker.lost",
        /// Sending was switched on.
        SendingOn = "sending.on",
        /// Sending was switched off.
        SendingOff = "sending.off",
    }
}

/// A webhook fails, or answers again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutageChange {
    /// The webhook.
    pub webhook_id: i64,
    /// Whether it answers again.
    pub recovered: bool,
    /// The error with which it fails, or what the outage has cost.
    pub reason: String,
}

impl OutageChange {
    /// What has changed.
    pub fn kind(&self) -> ChangeKind {
        if self.recovered { ChangeKind::WebhookRecovered } else { ChangeKind::WebhookFailing }
    }
}
