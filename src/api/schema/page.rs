//! Pages of a list.

use serde::{Deserialize, Serialize};

use crate::domain::{page, violation::Violations};

/// Which page of a list is wanted, as the query string says it.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Items on the page at most, 1 to 1000; 100 unless given.
    pub(crate) limit: Option<i64>,
    /// `next` of the page before.
    pub(crate) after: Option<i64>,
}

impl PageQuery {
    /// The page, if the limit is one.
    pub(crate) fn page(self) -> Result<page::Page, Violations> {
        page::Page::new(self.limit, self.after)
    }
}

/// A page, and where the next one begins.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Items<T> {
    /// What is on the page.
    items: Vec<T>,
    /// Give this as `after` for the next page; null ends the list. A page may be short, or even
    /// empty, and not the last: the server looks at a bounded number of rows for each.
    next: Option<i64>,
}

impl<T, U: From<T>> From<page::Items<T>> for Items<U> {
    fn from(page: page::Items<T>) -> Self {
        Self { items: page.items.into_iter().map(U::from).collect(), next: page.next }
    }
}
