//! The timeline of a lane as a drawing.
//!
//! One row is one message. From left to right: when it was published, its attempts, the waits
//! between them, and where it stands. Changes of the lane, of its webhook and of its topic are lines
//! over all rows. While nothing could be sent because of one, the ground is shaded.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{
    super::text,
    facts::{Kind, attempts_of, change_word, end_of, ended, result, shown, standing},
    scale::Scale,
};
use crate::domain::{
    attempt::Outcome,
    delivery::AttemptRecord,
    lane::LaneState,
    lane_history::{LaneHistory, LaneMessage},
};

const WIDTH: f64 = 960.0;
/// Where times begin and end. Ids are to the left, states to the right.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 848.0;
/// How high a row is, and half of what is drawn in it.
const ROW: f64 = 24.0;
const HALF: f64 = 7.0;
/// How high a line of words about changes is, and how many there are.
const LINE: f64 = 15.0;
const LINES: usize = 3;
/// About how wide a character is.
const CHARACTER: f64 = 6.4;
/// The width of the narrowest attempt.
const NARROWEST: f64 = 6.0;

/// The drawing, or `None` if no message of the lane is known.
pub(in crate::console) fn draw(history: &LaneHistory, now: Timestamp) -> Option<String> {
    let rows = shown(history);
    let mut drawing = Drawing::new(history, &rows, now)?;
    drawing.changes();
    drawing.times();
    for (index, message) in rows.iter().enumerate() {
        drawing.row(index, message);
    }
    let messages = text::plural(i64::try_from(rows.len()).unwrap_or(i64::MAX), "message");
    let label = format!("Timeline of {} {messages}. The table below says the same.", rows.len());
    let height = drawing.bottom + 26.0;
    Some(format!(
        r#"<svg class="timeline" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="group" aria-label="{label}">{}</svg>"#,
        drawing.svg
    ))
}

struct Drawing<'a> {
    history: &'a LaneHistory,
    now: Timestamp,
    first: Timestamp,
    scale: Scale,
    /// Where the first row begins, and the last one ends.
    top: f64,
    bottom: f64,
    svg: String,
}

impl<'a> Drawing<'a> {
    fn new(history: &'a LaneHistory, rows: &[&LaneMessage], now: Timestamp) -> Option<Self> {
        let mut times = Vec::new();
        for message in rows {
            times.extend(message.created_at);
            times.extend(message.replayed_at);
            times.extend(message.given_up.map(|(_, at)| at));
            for attempt in attempts_of(history, message.message_id) {
                times.extend([attempt.attempted_at, ended(attempt)]);
            }
        }
        let first = times.iter().copied().min()?;
        times.extend(history.changes.iter().map(|change| change.at).filter(|at| *at >= first));
        times.push(now);
        times.extend(due(history).filter(|due| *due > now));
        let top = LINE * lines(LINES) + 4.0;
        #[expect(clippy::cast_precision_loss, reason = "there are few rows")]
        let bottom = top + ROW * rows.len() as f64;
        let scale = Scale::of(times, LEFT, RIGHT - NARROWEST);
        Some(Self { history, now, first, scale, top, bottom, svg: String::new() })
    }

    fn x(&self, at: Timestamp) -> f64 {
        self.scale.x(at)
    }

    /// Changes: shaded grounds, lines, and words where there is room.
    fn changes(&mut self) {
        let (top, height) = (self.top, self.bottom - self.top);
        for (index, change) in self.history.changes.iter().enumerate() {
            let Some(end) = end_of(change.kind) else { continue };
            let ended = self.history.changes[index..].iter().find(|other| other.kind == end);
            let until = ended.map_or(self.now, |other| other.at);
            if until <= self.first {
                continue;
            }
            let (from, to) = (self.x(change.at), self.x(until));
            let word = change_word(change.kind);
            let _ = write!(
                self.svg,
                r#"<rect class="shade" x="{from:.1}" y="{top}" width="{:.1}" height="{height}"><title>{word}</title></rect>"#,
                (to - from).max(1.0)
            );
        }
        let mut free = [LEFT - CHARACTER; LINES];
        for change in self.history.changes.iter().filter(|change| change.at >= self.first) {
            let (x, word) = (self.x(change.at), change_word(change.kind));
            let title = format!("{word}, {} UTC, by {}", text::time(change.at), text::line(&change.by));
            let width = lines(word.len()) * CHARACTER;
            // Near the right end the word stands before its line.
            let (begin, anchor) = if x + width > WIDTH { (x - width, "end") } else { (x, "start") };
            let line = free.iter().position(|end| *end + CHARACTER <= begin);
            let from = line.map_or(top, |line| LINE * lines(line) + 3.0);
            let _ = write!(
                self.svg,
                r#"<g><title>{}</title><path class="change" d="M{x:.1} {from:.1}V{:.1}"/>"#,
                escape(&title),
                self.bottom
            );
            if let Some(line) = line {
                free[line] = begin + width;
                let shift = if anchor == "start" { 3.0 } else { -3.0 };
                let _ = write!(
                    self.svg,
                    r#"<text class="word" x="{:.1}" y="{:.1}" text-anchor="{anchor}">{word}</text>"#,
                    x + shift,
                    LINE * lines(line) + 12.0
                );
            }
            self.svg.push_str("</g>");
        }
    }

    /// The times below the rows.
    fn times(&mut self) {
        let today = self.now.duration_since(self.first).as_hours() < 20;
        let (format, width) = if today { ("%H:%M:%S", 62.0) } else { ("%m-%d %H:%M", 80.0) };
        let (top, bottom, now) = (self.top, self.bottom, self.x(self.now));
        for (at, x) in self.scale.ticks(width) {
            let is_free = (x - now).abs() >= width;
            if is_free && x + width / 2.0 <= WIDTH {
                let _ = write!(
                    self.svg,
                    r#"<path class="grid" d="M{x:.1} {top}V{:.1}"/><text class="word" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                    bottom + 4.0,
                    bottom + 17.0,
                    at.strftime(format)
                );
            }
        }
        let _ = write!(
            self.svg,
            r#"<path class="now" d="M{now:.1} {top}V{:.1}"/><text class="word" x="{now:.1}" y="{:.1}" text-anchor="middle">now</text>"#,
            bottom + 4.0,
            bottom + 17.0
        );
    }

    fn row(&mut self, index: usize, message: &LaneMessage) {
        let middle = self.top + ROW * (lines(index) + 0.5);
        let id = message.message_id;
        let (shape, word, tone) = standing(self.history, message);
        let is_head = word != "behind" && message.owed;
        let _ = write!(
            self.svg,
            r#"<path class="rule" d="M0 {0:.1}H{WIDTH}"/><a href="deliveries/{1}/{id}"><text class="id{2}" x="{3}" y="{4:.1}" text-anchor="end">{id}</text></a><text class="state {tone}" x="{5}" y="{4:.1}">{shape} {word}</text>"#,
            middle + ROW / 2.0,
            self.history.webhook.id,
            if is_head { " head" } else { "" },
            LEFT - 14.0,
            middle + 4.5,
            RIGHT + 12.0,
        );
        let attempts: Vec<&AttemptRecord> = attempts_of(self.history, id).collect();
        self.waits(message, &attempts, middle, is_head);
        for at in message.created_at.iter().chain(&message.replayed_at) {
            let x = self.x(*at);
            let said = if message.created_at == Some(*at) { "published" } else { "owed by a replay" };
            let _ = write!(
                self.svg,
                r#"<path class="tick" d="M{x:.1} {:.1}V{:.1}"><title>message {id} {said}, {} UTC</title></path>"#,
                middle - HALF,
                middle + HALF,
                text::time(*at)
            );
        }
        for (number, attempt) in attempts.iter().enumerate() {
            let next = attempts.get(number + 1).map_or(RIGHT, |next| self.x(next.attempted_at));
            self.attempt(attempt, id, middle, next);
        }
        if let Some((reason, at)) = message.given_up {
            let (x, size) = (self.x(at), 5.0);
            let _ = write!(
                self.svg,
                r#"<path class="gone" d="M{0:.1} {1:.1}l{2} {2}m0 -{2}l-{2} {2}"><title>message {id} is a dead letter: {3}, {4} UTC</title></path>"#,
                x - size,
                middle - size,
                size * 2.0,
                reason.as_str().replace('_', " "),
                text::time(at)
            );
        }
    }

    /// A line for the time in which the message waits; dotted while its back-off lasts.
    fn waits(&mut self, message: &LaneMessage, attempts: &[&AttemptRecord], middle: f64, is_head: bool) {
        let given_up = message.given_up.map(|(_, at)| at);
        let end =
            if message.owed { Some(self.now) } else { attempts.last().map(|last| ended(last)).max(given_up) };
        if let (Some(begin), Some(end)) = (message.created_at, end) {
            let (from, to) = (self.x(begin), self.x(end));
            let _ = write!(self.svg, r#"<path class="wait" d="M{from:.1} {middle:.1}H{to:.1}"/>"#);
        }
        let due = due(self.history).filter(|_| is_head);
        for (index, attempt) in attempts.iter().enumerate() {
            let next = attempts.get(index + 1).map(|next| next.attempted_at).or(due);
            let Some(next) = next.filter(|_| attempt.outcome != Outcome::Accepted) else { continue };
            let (from, to) = (self.x(ended(attempt)), self.x(next));
            let _ = write!(
                self.svg,
                r#"<path class="backoff" d="M{from:.1} {middle:.1}H{to:.1}"><title>back-off until {} UTC</title></path>"#,
                text::time(next)
            );
        }
        if let Some(due) = due {
            let x = self.x(due);
            let _ = write!(
                self.svg,
                r#"<path class="next" d="M{x:.1} {:.1}l6 6l-6 6l-6 -6z"><title>tried next, {} UTC</title></path>"#,
                middle - 6.0,
                text::time(due)
            );
        }
    }

    /// An attempt. Its shape says how it ended, and a word does where there is room before `next`.
    fn attempt(&mut self, attempt: &AttemptRecord, id: i64, middle: f64, next: f64) {
        let from = self.x(attempt.attempted_at);
        let width = (self.x(ended(attempt)) - from).max(NARROWEST);
        let result = result(attempt);
        let error = attempt.error.as_deref().map(|error| format!(": {}", text::line(error)));
        let title = format!(
            "message {id}, attempt {}: {result}, {}, {} UTC{}",
            attempt.attempt,
            text::milliseconds(attempt.duration_ms),
            text::time(attempt.attempted_at),
            error.unwrap_or_default()
        );
        let _ = write!(self.svg, "<g><title>{}</title>", escape(&title));
        let top = middle - HALF;
        let (class, round) = match Kind::of(attempt) {
            Kind::Accepted => ("accepted", 3),
            Kind::Status => ("status", 0),
            Kind::Timeout => ("timeout", 0),
            Kind::Connection | Kind::Unsent => ("unmet", 0),
        };
        let drawn = if class == "unmet" {
            // A triangle stands for a request that had no answer at all.
            let _ =
                write!(self.svg, r#"<path class="unmet" d="M{from:.1} {top:.1}l6 {}h-12z"/>"#, HALF * 2.0);
            6.0
        } else {
            let _ = write!(
                self.svg,
                r#"<rect class="{class}" x="{from:.1}" y="{top:.1}" width="{width:.1}" height="{}" rx="{round}"/>"#,
                HALF * 2.0
            );
            width
        };
        let room = next - (from + drawn) - 6.0;
        if class != "accepted" && lines(result.len()) * CHARACTER <= room {
            let _ = write!(
                self.svg,
                r#"<text class="result" x="{:.1}" y="{:.1}">{result}</text>"#,
                from + drawn + 3.0,
                middle - 1.5
            );
        }
        self.svg.push_str("</g>");
    }
}

/// When the head is tried next, if it waits.
fn due(history: &LaneHistory) -> Option<Timestamp> {
    let lane =
        history.lane.as_ref().filter(|lane| lane.state == LaneState::Waiting && lane.head.is_some())?;
    lane.due_at
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn lines(number: usize) -> f64 {
    number as f64
}

/// A text between tags.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
