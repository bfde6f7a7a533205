//! Numbers, times and states as people read them. Everything here is pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::health::HealthState;

/// How a state is told: by a word, a shape and a tone. The colour alone says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) word: &'static str,
    pub(super) shape: &'static str,
    /// The class in the style sheet.
    pub(super) tone: &'static str,
}

impl Badge {
    pub(super) fn good(word: &'static str) -> Self {
        Self { word, shape: "●", tone: "good" }
    }

    pub(super) fn calm(word: &'static str) -> Self {
        Self { word, shape: "○", tone: "calm" }
    }

    pub(super) fn warn(word: &'static str) -> Self {
        Self { word, shape: "▲", tone: "warn" }
    }

    pub(super) fn bad(word: &'static str) -> Self {
        Self { word, shape: "■", tone: "bad" }
    }

    /// The badge of a webhook.
    pub(super) fn of_webhook(state: HealthState) -> Self {
        match state {
            HealthState::Active => Self::good("active"),
            HealthState::Starting => Self::calm("starting"),
            HealthState::Paused => Self::warn("paused"),
            HealthState::Holding => Self::warn("holding"),
            HealthState::Failing => Self::bad("failing"),
            HealthState::Open => Self::bad("breaker open"),
            HealthState::Disabled => Self::bad("disabled"),
        }
    }
}

/// A number with separators: `12,345`; `10,000+` if there may be more.
pub(super) fn count(number: i64, capped: bool) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let sign = if number < 0 { "-" } else { "" };
    let more = if capped { "+" } else { "" };
    format!("{sign}{text}{more}")
}

/// `lane` or `lanes`.
pub(super) fn plural(number: i64, word: &str) -> String {
    if number == 1 { word.to_owned() } else { format!("{word}s") }
}

/// A worker, by the beginning of its id.
pub(super) fn worker(id: Uuid) -> String {
    id.to_string()[..8].to_owned()
}

/// A rate: `0`, `<0.1`, `0.3`, `12.5`, `1,234`.
pub(super) fn rate(per_second: f64) -> String {
    if per_second == 0.0 {
        "0".to_owned()
    } else if per_second < 0.05 {
        "<0.1".to_owned()
    } else if per_second < 99.95 {
        format!("{per_second:.1}")
    } else {
        // A rate is far below the largest number.
        #[allow(clippy::cast_possible_truncation)]
        count(per_second.round() as i64, false)
    }
}

/// Milliseconds: `0.8 ms`, `35 ms`, `2.4 s`.
pub(super) fn milliseconds(ms: f64) -> String {
    if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1000.0)
    }
}

/// How long ago something was: `3 s`, `5 min`, `2 h`, `4 d`. What is to come counts as now.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    span(seconds)
}

/// How long until something is: the same, for what is to come.
pub(super) fn until(now: Timestamp, then: Timestamp) -> String {
    span(then.as_second().saturating_sub(now.as_second()).max(0))
}

fn span(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// When backlogs were counted. The second is true if that is too long ago: a worker counts them every
/// 10 s.
pub(super) fn counted(now: Timestamp, at: Option<Timestamp>) -> (String, bool) {
    const LATE_AFTER: i64 = 60;
    match at {
        None => ("Backlogs were not counted yet.".to_owned(), false),
        Some(at) => {
            let is_late = now.as_second() - at.as_second() > LATE_AFTER;
            (format!("Backlogs were counted {} ago.", age(now, at)), is_late)
        }
    }
}

/// The text, unless it is empty.
pub(super) fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// A time to the second: `2026-11-30 03:14:05`, in UTC.
pub(super) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A text for one line: hidden characters are shown as numbers, and a long text is cut.
pub(super) fn line(text: &str) -> String {
    const SHOWN: usize = 200;
    let mut line = whole_line(text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end]));
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
    line
}

/// The same for a text that is never long.
pub(super) fn whole_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars() {
        if crate::domain::shell::is_hidden(character) {
            let _ = write!(line, "\\u{{{:x}}}", u32::from(character));
        } else {
            line.push(character);
        }
    }
    line
}

/// A text of several lines: hidden characters other than line breaks and tabs are shown as numbers.
pub(super) fn block(text: &str) -> String {
    let mut block = String::with_capacity(text.len());
    for character in text.chars() {
        if crate::domain::shell::is_hidden(character) && !matches!(character, '\n' | '\t') {
            let _ = write!(block, "\\u{{{:x}}}", u32::from(character));
        } else {
            block.push(character);
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        for (number, capped, text) in [
            (0, false, "0"),
            (999, false, "999"),
            (1000, false, "1,000"),
            (10_000, true, "10,000+"),
            (-1234, false, "-1,234"),
        ] {
            assert_eq!(count(number, capped), text);
        }
        // One a minute is not none.
        for (per_second, text) in [
            (0.0, "0"),
            (1.0 / 60.0, "<0.1"),
            (0.26, "0.3"),
            (12.34, "12.3"),
            (99.96, "100"),
            (1234.6, "1,235"),
        ] {
            assert_eq!(rate(per_second), text);
        }
        for (ms, text) in
            [(0.82, "0.8 ms"), (9.96, "10 ms"), (35.4, "35 ms"), (999.6, "1.0 s"), (2400.0, "2.4 s")]
        {
            assert_eq!(milliseconds(ms), text);
        }
    }

    #[test]
    fn an_age_has_one_unit() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, text) in [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (172_800, "2 d")] {
            assert_eq!(age(at(seconds), at(0)), text);
        }
        assert_eq!(until(at(0), at(90)), "1 min");
    }

    #[test]
    fn a_count_of_long_ago_is_late() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(counted(at(0), None), ("Backlogs were not counted yet.".to_owned(), false));
        for (seconds, text, is_late) in [(60, "1 min", false), (61, "1 min", true), (10_800, "3 h", true)] {
            let said = format!("Backlogs were counted {text} ago.");
            assert_eq!(counted(at(seconds), Some(at(0))), (said, is_late));
        }
    }

    #[test]
    fn a_block_keeps_its_lines() {
        assert_eq!(block("a\n\tb\u{202e}c\r"), "a\n\tb\\u{202e}c\\u{d}");
    }

    #[test]
    fn a_line_hides_nothing_and_has_an_end() {
        assert_eq!(line("a\nb\u{202e}c"), "a\\u{a}b\\u{202e}c");
        assert_eq!(line(&"x".repeat(300)).chars().count(), 201);
    }
}
