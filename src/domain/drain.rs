//! What is still owed, and whether it can move by itself.

use super::{topic::TopicRef, webhook_ref::WebhookRef, words::stored_words};

/// What is to be drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrainScope {
    /// Everything.
    All,
    /// One topic.
    Topic(TopicRef),
    /// One webhook.
    Webhook(WebhookRef),
}

stored_words! {
    /// Why nothing of what a webhook is owed can move until somebody acts.
    pub enum Stuck {
        /// Sending is switched off.
        NotSending = "not_sending",
        /// The webhook is disabled.
        Disabled = "disabled",
        /// The webhook is paused.
        Paused = "paused",
        /// The topic is held.
        TopicHeld = "topic_held",
        /// All its lanes that owe something are halted.
        Halted = "halted",
        /// What it is owed is in no lane.
        NoLane = "no_lane",
        /// No worker lives.
        NoWorker = "no_worker",
    }
}

/// A webhook that is owed something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of its own")]
pub struct OwedWebhook {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its topic's name.
    pub topic: String,
    /// Whether its lanes are not claimed yet.
    pub starting: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it is disabled.
    pub disabled: bool,
    /// Whether its topic is held.
    pub held: bool,
    /// How much it is owed, up to 10,000.
    pub owed: i64,
    /// Whether it is owed more than that.
    pub owed_capped: bool,
    /// How many of its lanes are halted, up to 10,000.
    pub halted_lanes: i64,
    /// Whether a lane owes something that is not halted.
    pub moves: bool,
}

/// What is still owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// Whether anything is sent.
    pub sending: bool,
    /// Whether a worker lives.
    pub has_worker: bool,
    /// The webhooks that are owed something, by rising id.
    pub webhooks: Vec<OwedWebhook>,
}

impl Remaining {
    /// Why nothing of what a webhook is owed can move; `None` if it can.
    pub fn stuck(&self, webhook: &OwedWebhook) -> Option<Stuck> {
        if !self.sending {
            Some(Stuck::NotSending)
        } else if webhook.disabled {
            Some(Stuck::Disabled)
        } else if webhook.paused {
            Some(Stuck::Paused)
        } else if webhook.held {
            Some(Stuck::TopicHeld)
        } else if webhook.moves || webhook.starting {
            // A webhook that is starting becomes active by itself, if there is a worker.
            (!self.has_worker).then_some(Stuck::NoWorker)
        } else if webhook.halted_lanes > 0 {
            Some(Stuck::Halted)
        } else {
            Some(Stuck::NoLane)
        }
    }

    /// Whether nothing of what is left can move.
    pub fn is_stuck(&self) -> bool {
        self.webhooks.iter().all(|webhook| self.stuck(webhook).is_some())
    }

    /// How much is owed, and whether it is more.
    pub fn owed(&self) -> (i64, bool) {
        let capped = self.webhooks.iter().any(|webhook| webhook.owed_capped);
        (self.webhooks.iter().map(|webhook| webhook.owed).sum(), capped)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn webhooks()(
            starting: bool, paused: bool, disabled: bool, held: bool, moves: bool, halted_lanes in 0i64..2,
        ) -> OwedWebhook {
            let (name, topic) = ("billing".to_owned(), "orders".to_owned());
            OwedWebhook { id: 1, name, topic, starting, paused, disabled, held, owed: 3, owed_capped: false, halted_lanes, moves }
        }
    }

    proptest! {
        #[test]
        fn what_nobody_stops_moves_and_nothing_else(
            sending: bool, has_worker: bool, webhooks in prop::collection::vec(webhooks(), 0..4),
        ) {
            let remaining = Remaining { sending, has_worker, webhooks };
            let mut any_moves = false;
            for webhook in &remaining.webhooks {
                let stopped = webhook.paused || webhook.disabled || webhook.held;
                let moves = sending && has_worker && !stopped && (webhook.moves || webhook.starting);
                prop_assert_eq!(remaining.stuck(webhook).is_none(), moves);
                any_moves |= moves;
            }
            prop_assert_eq!(remaining.is_stuck(), !any_moves);
            prop_assert_eq!(remaining.owed(), (3 * i64::try_from(remaining.webhooks.len()).unwrap(), false));
        }
    }
}
