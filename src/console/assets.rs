//! The files of the browser. They are compiled in, and are loaded again only after they have
//! changed.

use std::fmt::Write as _;

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

use super::failure::Failure;

/// Name, media type and content of each file.
const FILES: [(&str, &str, &str); 7] = [
    ("console.css", CSS, include_str!("../../assets/console/console.css")),
    ("console.js", SCRIPT, include_str!("../../assets/console/console.js")),
    ("theme.js", SCRIPT, include_str!("../../assets/console/theme.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/console/icon.svg")),
    ("htmx.min.js", SCRIPT, include_str!("../../assets/console/htmx.min.js")),
    ("hx-sse.min.js", SCRIPT, include_str!("../../assets/console/hx-sse.min.js")),
    ("hx-csp.min.js", SCRIPT, include_str!("../../assets/console/hx-csp.min.js")),
];

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    let found = FILES.iter().find(|(file, _, _)| *file == name);
    let (_, kind, text) = found.ok_or_else(|| Failure::not_found("there is no such file"))?;
    let tag = format!("\"{}\"", hex(text));
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    // A browser asks each time whether the file has changed.
    let about =
        [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "no-cache"), (header::CONTENT_TYPE, *kind)];
    Ok(if known { (StatusCode::NOT_MODIFIED, about).into_response() } else { (about, *text).into_response() })
}

/// The SHA-256 of a text.
fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string never fails.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `assets/console/LICENSES.md` names the files of others and their hashes.
    #[test]
    fn files_of_others_are_as_they_came_and_have_a_licence() {
        let licences = include_str!("../../assets/console/LICENSES.md");
        let of_others: Vec<_> = FILES.iter().filter(|(name, _, _)| name.ends_with(".min.js")).collect();
        assert_eq!(of_others.len(), licences.matches(".min.js").count());
        for (name, _, text) in of_others {
            let line = format!("| `{name}` | {} |", hex(text));
            assert!(licences.contains(&line), "LICENSES.md lacks: {line}");
        }
    }

    #[test]
    fn our_own_script_stays_small() {
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        let lines = |wanted: &str| {
            let (_, _, text) = FILES.iter().find(|(name, _, _)| *name == wanted).unwrap();
            text.lines().filter(is_code).count()
        };
        assert!(lines("console.js") < 150 && lines("theme.js") < 10);
    }
}
