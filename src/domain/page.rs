//! Pages of a list.

use std::ops::RangeInclusive;

use super::{policy::check_range, violation::Violations};

/// How many items a page holds by default.
const LIMIT_DEFAULT: i64 = 100;
/// How many items a page may hold.
pub const LIMIT: RangeInclusive<i64> = 1..=1000;
/// What `next` of a page may be: an id, or how many items to skip.
///
/// The largest number is not among them: a query string that gives a larger one is read as this one.
pub const AFTER: RangeInclusive<i64> = 0..=i64::MAX - 1;

/// Which page of a list to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The most items on the page, 1 to 1000.
    pub limit: i64,
    /// `next` of the previous page; `None` for the first page.
    pub after: Option<i64>,
}

impl Page {
    /// The page that comes after `after`, with at most `limit` items. `None` is 100 items.
    ///
    /// # Errors
    /// A violation of `limit` if it is not 1 to 1000, and of `after` if it is negative.
    pub fn new(limit: Option<i64>, after: Option<i64>) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        check_range("limit", limit, &LIMIT, &mut violations);
        check_range("after", after, &AFTER, &mut violations);
        violations.finish()?;
        Ok(Self { limit: limit.unwrap_or(LIMIT_DEFAULT), after })
    }

    /// The id after which a page of rising ids begins.
    pub fn rising_from(self) -> i64 {
        self.after.unwrap_or(i64::MIN)
    }

    /// The id below which a page of falling ids begins.
    pub fn falling_from(self) -> i64 {
        self.after.unwrap_or(i64::MAX)
    }
}

/// A page, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items<T> {
    /// The items of the page.
    pub items: Vec<T>,
    /// Give this as `after` to get the next page. Null means that this page is the last. A page may
    /// be short or even empty and still not be the last, because the server looks at a limited
    /// number of rows for each page.
    pub next: Option<i64>,
}

impl<T> Items<T> {
    /// The page with `change` applied to each item.
    pub fn map<U>(self, change: impl Fn(T) -> U) -> Items<U> {
        Items { items: self.items.into_iter().map(change).collect(), next: self.next }
    }

    /// A page of a list that skips no rows. Only a full page has a next one. `id` gives the id of
    /// an item.
    pub fn full(items: Vec<T>, page: Page, id: impl Fn(&T) -> i64) -> Self {
        let is_full = i64::try_from(items.len()).is_ok_and(|length| length >= page.limit);
        let next = items.last().filter(|_| is_full).map(id);
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_limit_is_taken_exactly_within_its_bounds(limit in -2000i64..2000) {
            let page = Page::new(Some(limit), None);
            prop_assert_eq!(page.is_ok(), (1..=1000).contains(&limit));
            let page = Page::new(None, Some(limit));
            prop_assert_eq!(page.is_ok(), limit >= 0);
        }

        #[test]
        fn walking_the_pages_shows_everything_once(count in 0i64..50, limit in 1i64..10) {
            let all: Vec<i64> = (0..count).collect();
            let mut seen = Vec::new();
            let mut page = Page { limit, after: None };
            loop {
                let start = page.rising_from();
                let size = usize::try_from(limit).unwrap();
                let items: Vec<i64> = all.iter().copied().filter(|id| *id > start).take(size).collect();
                let answer = Items::full(items, page, |id| *id);
                seen.extend(answer.items);
                let Some(next) = answer.next else { break };
                page.after = Some(next);
            }
            prop_assert_eq!(seen, all);
        }
    }
}
