//! Where a page is. Links are relative to the folder of the console, whatever stands before it.

use axum::http::Uri;

/// Where the console is.
pub(super) const ROOT: &str = "/console/";

/// Where a page is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The way from the page to the folder of the console: `./`, `../`, …
    pub(super) root: String,
    /// The page and its query string, as seen from the folder of the console.
    pub(super) here: String,
}

impl Place {
    pub(super) fn of(uri: &Uri) -> Self {
        let below = uri.path().strip_prefix(ROOT).unwrap_or_default();
        let root = match below.matches('/').count() {
            0 => "./".to_owned(),
            depth => "../".repeat(depth),
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = if below.is_empty() { "./" } else { below };
        Self { root, here: format!("{path}{query}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_the_way_to_the_folder_of_the_console() {
        for (path, root, here) in [
            ("/console/", "./", "./"),
            ("/console/jobs?state=failed", "./", "jobs?state=failed"),
            ("/console/topics/orders?type=a%2Fb", "../", "topics/orders?type=a%2Fb"),
            ("/console/jobs/7/cancel", "../../", "jobs/7/cancel"),
        ] {
            let place = Place::of(&path.parse().unwrap());
            assert_eq!(place, Place { root: root.to_owned(), here: here.to_owned() });
        }
    }
}
