//! Webhooks that do not get what they are owed.

use jiff::Timestamp;

use super::{
    finding::{Check, Finding, Item, Remedy, Status},
    words::{age, count, span},
};

/// A webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookSeen {
    /// `topic:name`.
    pub webhook: String,
    /// Its URL.
    pub url: String,
    /// Why it was disabled.
    pub disabled_reason: Option<String>,
    /// Whether an operator has paused it.
    pub paused: bool,
    /// Since when its breaker is open.
    pub opened_at: Option<Timestamp>,
    /// Since when every request has failed.
    pub failing_since: Option<Timestamp>,
    /// Why the last request failed.
    pub last_error: Option<String>,
    /// Why it cannot have its URL.
    pub invalid: Option<String>,
}

/// What is wrong with a webhook, what helps, and how bad it is.
fn judge(now: Timestamp, one: &WebhookSeen) -> Option<(Status, String, Remedy)> {
    let webhook = &one.webhook;
    let error = one.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    let enable = || format!("pgtopic webhooks enable {webhook}");
    if let Some(invalid) = &one.invalid {
        let text = "Give it a URL that requests may go to, or allow the network in delivery.allow_networks of all workers.";
        let remedy = Remedy::new(text).command(format!("pgtopic webhooks update {webhook} --url https://…"));
        return Some((Status::Fail, format!("{webhook} cannot be sent to: {invalid}"), remedy));
    }
    if let Some(reason) = &one.disabled_reason {
        let remedy = Remedy::new("Repair the receiver, then enable the webhook. Its backlog was kept.");
        return Some((Status::Fail, format!("{webhook} is disabled: {reason}"), remedy.command(enable())));
    }
    if one.paused {
        return None;
    }
    if let Some(opened_at) = one.opened_at {
        let text = "Repair the receiver. The first probe that it accepts closes the breaker; who cannot wait closes it by hand.";
        let since = span(age(now, opened_at));
        let what = format!("{webhook} gets only probes: its breaker has been open for {since}{error}");
        return Some((Status::Fail, what, Remedy::new(text).command(enable())));
    }
    let failing_since = one.failing_since?;
    let since = span(age(now, failing_since));
    let remedy = Remedy::new("See what the receiver answers, and repair it.")
        .command(format!("pgtopic tail --webhook {webhook}"));
    Some((Status::Warn, format!("{webhook} has failed for {since}{error}"), remedy))
}

/// Judges the webhooks. `most`: how many were looked for.
pub fn judge_webhooks(now: Timestamp, webhooks: &[WebhookSeen], most: usize) -> Finding {
    let mut found: Vec<_> = webhooks.iter().filter_map(|one| judge(now, one)).collect();
    found.sort_by_key(|(status, ..)| std::cmp::Reverse(*status));
    let Some((status, what, remedy)) = found.first().cloned() else {
        return Finding::ok(
            Check::Webhooks,
            format!("none of {} fails", count(webhooks.len(), most, "webhook")),
        );
    };
    let seen = match found.len() {
        1 => what,
        number => format!("{number} of {}; {what}", count(webhooks.len(), most, "webhook")),
    };
    let items = found.into_iter().map(|(_, what, remedy)| Item::with(what, remedy));
    Finding::bad(Check::Webhooks, status, seen, remedy).listing(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_fails_is_open_disabled_or_invalid() {
        let now = Timestamp::UNIX_EPOCH;
        let fine = WebhookSeen { webhook: "orders:billing".to_owned(), ..WebhookSeen::default() };
        let judge = |one: WebhookSeen| {
            let finding = judge_webhooks(now, &[fine.clone(), one], 100);
            (finding.status, finding.remedy.and_then(|remedy| remedy.command).unwrap_or_default())
        };
        let failing = WebhookSeen { failing_since: Some(now), ..fine.clone() };
        let open = WebhookSeen { opened_at: Some(now), ..failing.clone() };
        let enable = (Status::Fail, "pgtopic webhooks enable orders:billing".to_owned());
        assert_eq!(judge(fine.clone()).0, Status::Ok);
        assert_eq!(
            judge(failing.clone()),
            (Status::Warn, "pgtopic tail --webhook orders:billing".to_owned())
        );
        assert_eq!(judge(open.clone()), enable);
        assert_eq!(judge(WebhookSeen { paused: true, ..open }).0, Status::Ok, "somebody has said so");
        assert_eq!(judge(WebhookSeen { disabled_reason: Some("410".to_owned()), ..fine.clone() }), enable);
        assert_eq!(judge(WebhookSeen { invalid: Some("no".to_owned()), ..fine.clone() }).0, Status::Fail);
        let disabled = WebhookSeen { disabled_reason: Some("410".to_owned()), ..fine.clone() };
        let both = judge_webhooks(now, &[failing, disabled], 100);
        assert_eq!((both.status, both.items.len()), (Status::Fail, 2));
    }
}
