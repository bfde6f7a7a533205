//! Pages of a list.

use serde::{Deserialize, Serialize};

use super::number::query_integer;
use crate::domain::page;

/// Which page of a list to give, as the query string says it.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The most items on the page, 1 to 1000; 100 unless given.
    #[serde(default, deserialize_with = "query_integer")]
    pub(crate) limit: Option<i64>,
    /// `next` of the previous page of the same list.
    #[serde(default)]
    pub(crate) after: Option<String>,
}

impl From<PageQuery> for page::PageRequest {
    fn from(PageQuery { limit, after }: PageQuery) -> Self {
        Self { limit, after }
    }
}

/// A page, and where the next one begins.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Items<T> {
    /// The items of the page.
    items: Vec<T>,
    /// Give this as `after` to get the next page. Null means that this page is the last. A page may
    /// be short or even empty and still not be the last, because the server looks at a limited
    /// number of rows for each page.
    next: Option<String>,
}

impl<T> Items<T> {
    /// What to give as `after` to get the next page.
    pub(crate) fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// The page with `change` applied to each item.
    pub(crate) fn map(self, change: impl Fn(T) -> T) -> Self {
        Self { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}

impl<T, U: From<T>> From<page::Items<T>> for Items<U> {
    fn from(page: page::Items<T>) -> Self {
        Self {
            items: page.items.into_iter().map(U::from).collect(),
            next: page.next.map(|next| next.to_string()),
        }
    }
}
