//! Pages of a list.

use serde::{Deserialize, Serialize};

use super::violation::Violations;

/// Items on a page unless the request says otherwise.
const DEFAULT_LIMIT: i64 = 100;
/// Items on a page at most.
const MAX_LIMIT: i64 = 1000;

/// Which page of a list is wanted, as the query string says it.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Items on the page at most, 1 to 1000; 100 unless given.
    pub limit: Option<i64>,
    /// `next` of the page before.
    pub after: Option<i64>,
}

impl PageQuery {
    /// The page, if the limit is one.
    pub fn page(self) -> Result<Page, Violations> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Violations::one("limit", format!("must be between 1 and {MAX_LIMIT}")));
        }
        Ok(Page { limit, after: self.after })
    }
}

/// Which page of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Items at most, at least 1.
    pub limit: i64,
    /// The id where the page before ended.
    pub after: Option<i64>,
}

impl Page {
    /// Where a list of rising ids begins.
    pub fn rising_from(self) -> i64 {
        self.after.unwrap_or(i64::MIN)
    }

    /// Where a list of falling ids begins.
    pub fn falling_from(self) -> i64 {
        self.after.unwrap_or(i64::MAX)
    }
}

/// A page, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Items<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// Give this as `after` for the next page; null ends the list. A page may be short, or even empty, and not the
    /// last: the server looks at a bounded number of rows for each.
    pub next: Option<i64>,
}

impl<T> Items<T> {
    /// A page of a list of which nothing is skipped: only a full page has a next one.
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
            let page = PageQuery { limit: Some(limit), after: None }.page();
            prop_assert_eq!(page.is_ok(), (1..=1000).contains(&limit));
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
