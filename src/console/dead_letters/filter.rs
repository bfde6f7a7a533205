//! The filter of dead letters, as the address has it.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{failure::Failure, text};
use crate::domain::{
    attempt::ErrorClass,
    dead_letter::{DeadLetterFilter, DeadLetterGroup, Reason},
    shell::flag,
    topic::TopicRef,
};

/// The filter. An empty field excludes nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::console) struct Asked {
    pub(super) topic: String,
    pub(super) webhook_id: String,
    pub(super) partition_key: String,
    r#type: String,
    pub(super) reason: String,
    error_class: String,
    status_code: String,
    since: String,
    until: String,
    /// The page of the single ones. It is no part of the filter.
    pub(super) after: String,
}

/// A part of the filter that has no field in the form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// The value as it is shown.
    pub(super) shown: String,
    /// The filter without it, as a query string.
    pub(super) without: String,
}

impl Asked {
    /// The fields that exclude something.
    pub(super) fn fields(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("topic", &self.topic),
            ("webhook_id", &self.webhook_id),
            ("partition_key", &self.partition_key),
            ("type", &self.r#type),
            ("reason", &self.reason),
            ("error_class", &self.error_class),
            ("status_code", &self.status_code),
            ("since", &self.since),
            ("until", &self.until),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, value.as_str()))
            .collect()
    }

    /// Those of them that have no field in the form.
    pub(super) fn parts(&self) -> Vec<Part> {
        let fields = self.fields();
        let of_form = ["topic", "webhook_id", "partition_key", "reason"];
        let parts = fields.iter().filter(|(name, _)| !of_form.contains(name));
        let part = |&(name, value): &(&'static str, &str)| Part {
            name,
            value: value.to_owned(),
            shown: text::line(value),
            without: query(fields.iter().copied().filter(|(other, _)| *other != name)),
        };
        parts.map(part).collect()
    }

    pub(super) fn filter(&self) -> Result<DeadLetterFilter, Failure> {
        Ok(DeadLetterFilter {
            topic: read("topic", &self.topic, TopicRef::parse)?,
            webhook_id: read("webhook_id", &self.webhook_id, |id| id.parse().ok())?,
            partition_key: text::given(&self.partition_key),
            message_type: text::given(&self.r#type),
            reason: read("reason", &self.reason, Reason::parse)?,
            error_class: read("error_class", &self.error_class, ErrorClass::parse)?,
            status_code: read("status_code", &self.status_code, |code| code.parse().ok())?,
            since: read("since", &self.since, |time| time.parse().ok())?,
            until: read("until", &self.until, |time| time.parse().ok())?,
        })
    }

    /// As a query string.
    pub(super) fn query(&self) -> String {
        query(self.fields())
    }

    /// The same, for the page of the single ones that follows.
    pub(super) fn query_after(&self, next: &str) -> String {
        query(self.fields().into_iter().chain([("after", next)]))
    }

    /// As the body of a request of the API.
    pub(super) fn body(&self) -> Value {
        let value = |name, text: &str| match name {
            "webhook_id" | "status_code" => text.parse::<i64>().map_or(Value::Null, Value::from),
            _ => Value::from(text),
        };
        let fields = self.fields();
        if fields.is_empty() {
            return serde_json::json!({"all": true});
        }
        Value::Object(
            fields.iter().map(|(name, text)| ((*name).to_owned(), value(*name, text))).collect::<Map<_, _>>(),
        )
    }

    /// As flags of a command.
    pub(super) fn flags(&self) -> String {
        let fields = self.fields();
        if fields.is_empty() {
            return "--all".to_owned();
        }
        let flag = |(name, text): &(&str, &str)| flag(&name.replace('_', "-"), text);
        fields.iter().map(flag).collect::<Vec<_>>().join(" ")
    }

    /// The filter that means one of the groups that `filter` has: what is in that group, and nothing
    /// else. `None` if no filter does: without a kind of failure or a status, a filter means all
    /// kinds and all statuses.
    pub(super) fn of(
        group: &DeadLetterGroup,
        groups: &[DeadLetterGroup],
        filter: &DeadLetterFilter,
    ) -> Option<Self> {
        let is_meant = |other: &&DeadLetterGroup| {
            (other.webhook_id, other.reason, other.hour) == (group.webhook_id, group.reason, group.hour)
                && group.error_class.is_none_or(|class| other.error_class == Some(class))
                && group.status_code.is_none_or(|code| other.status_code == Some(code))
        };
        if groups.iter().filter(is_meant).count() > 1 {
            return None;
        }
        let end = group.hour.checked_add(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MAX);
        Some(Self {
            webhook_id: group.webhook_id.to_string(),
            partition_key: filter.partition_key.clone().unwrap_or_default(),
            r#type: filter.message_type.clone().unwrap_or_default(),
            reason: group.reason.as_str().to_owned(),
            error_class: group.error_class.map(|class| class.as_str().to_owned()).unwrap_or_default(),
            status_code: group.status_code.map(|code| code.to_string()).unwrap_or_default(),
            since: filter.since.map_or(group.hour, |since| since.max(group.hour)).to_string(),
            until: filter.until.map_or(end, |until| until.min(end)).to_string(),
            ..Self::default()
        })
    }
}

fn query<'a>(fields: impl IntoIterator<Item = (&'static str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Reads a field that may be empty.
fn read<T>(field: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(text).map(Some).ok_or_else(|| Failure::field(field, &format!("must not be {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_the_same_in_address_body_and_command() {
        let asked = Asked {
            webhook_id: "7".to_owned(),
            partition_key: "-a'; touch x".to_owned(),
            reason: "attempts_exhausted".to_owned(),
            after: "page".to_owned(),
            ..Asked::default()
        };
        assert_eq!(asked.query(), "webhook_id=7&partition_key=-a%27%3B+touch+x&reason=attempts_exhausted");
        assert_eq!(asked.query_after("x"), format!("{}&after=x", asked.query()));
        let body = serde_json::json!({
            "webhook_id": 7, "partition_key": "-a'; touch x", "reason": "attempts_exhausted",
        });
        assert_eq!(asked.body(), body);
        let flags = r"--webhook-id=7 --partition-key='-a'\''; touch x' --reason=attempts_exhausted";
        assert_eq!(asked.flags(), flags);
        let filter = asked.filter().unwrap();
        assert_eq!((filter.webhook_id, filter.reason), (Some(7), Some(Reason::AttemptsExhausted)));
        assert_eq!(
            (Asked::default().body(), Asked::default().flags()),
            (serde_json::json!({"all": true}), "--all".to_owned())
        );
    }

    #[test]
    fn what_no_dead_letter_can_have_is_refused() {
        for asked in [
            Asked { reason: "x".to_owned(), ..Asked::default() },
            Asked { webhook_id: "x".to_owned(), ..Asked::default() },
            Asked { since: "yesterday".to_owned(), ..Asked::default() },
            Asked { topic: "a b".to_owned(), ..Asked::default() },
        ] {
            assert!(asked.filter().is_err(), "{asked:?}");
        }
    }

    #[test]
    fn the_filter_of_a_group_means_that_group_alone() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let group = |error_class, status_code| DeadLetterGroup {
            webhook_id: 7,
            webhook: "hook".to_owned(),
            topic: "orders".to_owned(),
            reason: Reason::AttemptsExhausted,
            error_class,
            status_code,
            hour: at(7200),
            count: 1,
            first_at: at(7200),
            last_at: at(7200),
            sample_id: 1,
            sample_error: None,
            capped: false,
        };
        let all = DeadLetterFilter::default();
        let filter = DeadLetterFilter {
            partition_key: Some("k".to_owned()),
            message_type: Some("order.paid".to_owned()),
            since: Some(at(7260)),
            until: Some(at(9000)),
            ..DeadLetterFilter::default()
        };
        let timeout = group(Some(ErrorClass::Timeout), None);
        let asked = Asked::of(&timeout, std::slice::from_ref(&timeout), &filter).unwrap().filter().unwrap();
        let expected = DeadLetterFilter {
            webhook_id: Some(7),
            reason: Some(Reason::AttemptsExhausted),
            error_class: Some(ErrorClass::Timeout),
            ..filter
        };
        assert_eq!(asked, expected);
        let whole = Asked::of(&timeout, &[], &all).unwrap().filter().unwrap();
        assert_eq!((whole.since, whole.until), (Some(at(7200)), Some(at(10_800))));

        // A sister that the filter would mean, too.
        let answered = group(Some(ErrorClass::Timeout), Some(200));
        let nothing = group(None, None);
        let groups = [timeout.clone(), answered.clone(), nothing.clone()];
        assert_eq!(Asked::of(&timeout, &groups, &all), None);
        assert_eq!(Asked::of(&nothing, &groups, &all), None);
        assert!(Asked::of(&answered, &groups, &all).is_some());
        // Sisters of other hours, webhooks and reasons are no matter.
        let other = [
            DeadLetterGroup { hour: at(3600), ..answered.clone() },
            DeadLetterGroup { webhook_id: 8, ..answered.clone() },
            DeadLetterGroup { reason: Reason::Expired, ..answered },
        ];
        assert!(Asked::of(&timeout, &[&other[..], std::slice::from_ref(&timeout)].concat(), &all).is_some());
    }

    #[test]
    fn what_has_no_field_in_the_form_can_be_taken_away() {
        let asked = Asked {
            topic: "orders".to_owned(),
            r#type: "order.paid".to_owned(),
            until: "2026-11-30T11:00:00Z".to_owned(),
            ..Asked::default()
        };
        let parts = asked.parts();
        let names: Vec<_> = parts.iter().map(|part| (part.name, part.without.as_str())).collect();
        let expected = [
            ("type", "topic=orders&until=2026-11-30T11%3A00%3A00Z"),
            ("until", "topic=orders&type=order.paid"),
        ];
        assert_eq!(names, expected);
    }
}
