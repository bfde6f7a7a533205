//! Pages of a list, and cursors: where the next page begins.

use std::{fmt, ops::RangeInclusive};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{policy::check_range, violation::Violations};

/// How many items a page holds by default.
const LIMIT_DEFAULT: i64 = 100;
/// How many items a page may hold.
pub const LIMIT: RangeInclusive<i64> = 1..=1000;
/// The longest cursor, in bytes.
pub const CURSOR_MAX: usize = 100;

/// A list that has pages. A cursor of one list is none of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Topics, by rising id.
    Topics,
    /// Webhooks, by rising id.
    Webhooks,
    /// A topic's messages, newest first.
    Messages,
    /// Deliveries, newest message first.
    Deliveries,
    /// Deliveries that a webhook owes, lane by lane.
    OwedDeliveries,
    /// The attempts of a delivery, oldest first.
    Attempts,
    /// Dead letters, newest first.
    DeadLetters,
    /// A webhook's lanes.
    Lanes,
    /// Jobs, newest first.
    Jobs,
}

impl List {
    /// All of them.
    const ALL: [Self; 9] = [
        Self::Topics,
        Self::Webhooks,
        Self::Messages,
        Self::Deliveries,
        Self::OwedDeliveries,
        Self::Attempts,
        Self::DeadLetters,
        Self::Lanes,
        Self::Jobs,
    ];

    /// The word in its cursors.
    fn as_str(self) -> &'static str {
        match self {
            Self::Topics => "topics",
            Self::Webhooks => "webhooks",
            Self::Messages => "messages",
            Self::Deliveries => "deliveries",
            Self::OwedDeliveries => "owed-deliveries",
            Self::Attempts => "attempts",
            Self::DeadLetters => "dead-letters",
            Self::Lanes => "lanes",
            Self::Jobs => "jobs",
        }
    }
}

/// Where a page begins: the list, and the keys of the last row before the page. It is shown as an
/// opaque text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    list: List,
    keys: (i64, i64),
}

impl Cursor {
    /// The cursor of a text; `None` if it is none.
    fn parse(text: &str) -> Option<Self> {
        let plain = (text.len() <= CURSOR_MAX).then(|| BASE64_URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
        let plain = String::from_utf8(plain).ok()?;
        let (list, keys) = plain.split_once(':')?;
        let (first, second) = keys.split_once(':')?;
        let list = List::ALL.into_iter().find(|known| known.as_str() == list)?;
        let cursor = Self { list, keys: (first.parse().ok()?, second.parse().ok()?) };
        // Of several texts that mean the same, one is a cursor.
        (cursor.to_string() == text).then_some(cursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = format!("{}:{}:{}", self.list.as_str(), self.keys.0, self.keys.1);
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(plain))
    }
}

/// Which page of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// The most items on the page, 1 to 1000. `None` is 100.
    pub limit: Option<i64>,
    /// `next` of the page before. `None` for the first page.
    pub after: Option<String>,
}

impl PageRequest {
    /// The page of this list.
    ///
    /// # Errors
    /// A violation of `limit` if it is not 1 to 1000, and of `after` if it is no cursor of this
    /// list.
    pub fn of(&self, list: List) -> Result<Page, Violations> {
        let mut violations = Violations::default();
        check_range("limit", self.limit, &LIMIT, &mut violations);
        let after =
            self.after.as_deref().map(|text| Cursor::parse(text).filter(|cursor| cursor.list == list));
        violations.require(after != Some(None), "after", "must be `next` of a page of this list");
        violations.finish()?;
        let after = after.flatten().map(|cursor| cursor.keys);
        Ok(Page { list, limit: self.limit.unwrap_or(LIMIT_DEFAULT), after })
    }
}

/// Which page of a list to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The list.
    pub list: List,
    /// The most items on the page, 1 to 1000.
    pub limit: i64,
    /// The keys of the last row before the page; `None` for the first page. A list with one key
    /// has 0 as the second.
    pub after: Option<(i64, i64)>,
}

impl Page {
    /// The first page of a list.
    pub fn first(list: List, limit: i64) -> Self {
        Self { list, limit, after: None }
    }

    /// The same page, beginning after this key.
    #[must_use]
    pub fn after(self, key: i64) -> Self {
        Self { after: Some((key, 0)), ..self }
    }

    /// The key after which a page of rising keys begins.
    pub fn rising_from(self) -> i64 {
        self.after.map_or(i64::MIN, |(key, _)| key)
    }

    /// The key below which a page of falling keys begins.
    pub fn falling_from(self) -> i64 {
        self.after.map_or(i64::MAX, |(key, _)| key)
    }

    /// The cursor of the page that begins after these keys.
    pub fn cursor(self, keys: (i64, i64)) -> Cursor {
        Cursor { list: self.list, keys }
    }
}

/// A page, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items<T> {
    /// The items of the page.
    pub items: Vec<T>,
    /// Give this as `after` to get the next page. `None` means that this page is the last. A page
    /// may be short or even empty and still not be the last, because the server looks at a limited
    /// number of rows for each page.
    pub next: Option<Cursor>,
}

impl<T> Items<T> {
    /// The page with `change` applied to each item.
    pub fn map<U>(self, change: impl Fn(T) -> U) -> Items<U> {
        Items { items: self.items.into_iter().map(change).collect(), next: self.next }
    }

    /// A page of a list that skips no rows. Only a full page has a next one. `key` gives the key of
    /// an item.
    pub fn full(items: Vec<T>, page: Page, key: impl Fn(&T) -> i64) -> Self {
        Self::full_by(items, page, |item| (key(item), 0))
    }

    /// The same for a list with two keys.
    pub fn full_by(items: Vec<T>, page: Page, keys: impl Fn(&T) -> (i64, i64)) -> Self {
        let is_full = i64::try_from(items.len()).is_ok_and(|length| length >= page.limit);
        let next = items.last().filter(|_| is_full).map(|item| page.cursor(keys(item)));
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(limit: Option<i64>, after: Option<String>) -> Result<Page, Violations> {
        PageRequest { limit, after }.of(List::Lanes)
    }

    proptest! {
        #[test]
        fn a_limit_is_taken_exactly_within_its_bounds(limit in -2000i64..2000) {
            prop_assert_eq!(request(Some(limit), None).is_ok(), (1..=1000).contains(&limit));
        }

        #[test]
        fn a_cursor_is_read_as_it_was_written(keys: (i64, i64)) {
            let text = Page::first(List::Lanes, 1).cursor(keys).to_string();
            prop_assert!(text.len() <= CURSOR_MAX);
            prop_assert_eq!(request(None, Some(text.clone())).unwrap().after, Some(keys));
            let other = PageRequest { limit: None, after: Some(text) };
            prop_assert!(other.of(List::Jobs).is_err());
        }

        #[test]
        fn any_other_text_is_no_cursor(text in ".{0,120}") {
            prop_assert!(request(None, Some(text)).is_err());
        }

        #[test]
        fn walking_the_pages_shows_everything_once(count in 0i64..50, limit in 1i64..10) {
            let all: Vec<i64> = (0..count).collect();
            let mut seen = Vec::new();
            let mut page = Page::first(List::Topics, limit);
            loop {
                let start = page.rising_from();
                let size = usize::try_from(limit).unwrap();
                let items: Vec<i64> = all.iter().copied().filter(|id| *id > start).take(size).collect();
                let answer = Items::full(items, page, |id| *id);
                seen.extend(answer.items);
                let Some(next) = answer.next else { break };
                page.after = Some(next.keys);
            }
            prop_assert_eq!(seen, all);
        }
    }

    #[test]
    fn of_several_texts_of_the_same_keys_one_is_a_cursor() {
        let text = BASE64_URL_SAFE_NO_PAD.encode("lanes:+1:0");
        assert!(request(None, Some(text)).is_err());
    }
}
