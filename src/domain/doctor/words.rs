//! Numbers and times for people.

use jiff::{SignedDuration, Timestamp};

/// A time span in its largest unit: 90 s, 5 min, 3 h, 9 d.
pub(super) fn span(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago something was.
pub(super) fn age(now: Timestamp, since: Timestamp) -> SignedDuration {
    now.duration_since(since).max(SignedDuration::ZERO)
}

/// Bytes in their largest unit.
pub(super) fn bytes(bytes: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} bytes"),
    }
}

/// `1 lane`, `2 lanes`, `more than 100 lanes`.
pub(super) fn count(number: usize, most: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    let more = if number >= most { "at least " } else { "" };
    format!("{more}{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_bytes_and_counts_are_short() {
        for (seconds, text) in [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 d")]
        {
            assert_eq!(span(SignedDuration::from_secs(seconds)), text);
        }
        assert_eq!([bytes(1023), bytes(1536), bytes(3 << 30)], ["1023 bytes", "1.5 KiB", "3.0 GiB"]);
        assert_eq!([count(1, 9, "lane"), count(2, 9, "lane")], ["1 lane", "2 lanes"]);
        assert_eq!(count(9, 9, "lane"), "at least 9 lanes");
    }
}
