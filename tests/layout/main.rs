//! The layout of the source: which folder may import which, and that no files import one another in
//! a circle.
//!
//! It needs no database: `cargo test --test layout`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod circles;
mod imports;
mod source;

use std::collections::BTreeMap;

use self::{circles::circles, imports::Imports, source::Source};

/// What each folder of `src` may import beside itself. `cli` puts a process together, so it may
/// import all.
const MAY_IMPORT: [(&str, &[&str]); 14] = [
    ("domain", &[]),
    ("store", &["domain"]),
    ("delivery", &["domain"]),
    ("broker", &["store", "delivery", "domain"]),
    // It makes from a section's settings what the section is for.
    ("config", &["store", "domain"]),
    ("telemetry", &["domain", "config"]),
    ("background", &["store", "domain", "config"]),
    ("worker", &["background", "store", "delivery", "domain", "config", "telemetry"]),
    ("api", &["broker", "store", "domain", "config", "telemetry"]),
    // Its rights are those of the API. It shows the settings of its process.
    ("console", &["api", "broker", "domain", "config"]),
    ("embedded", &[]),
    ("demo", &["store", "domain", "config", "telemetry"]),
    (
        "cli",
        &[
            "broker",
            "api",
            "console",
            "worker",
            "store",
            "delivery",
            "domain",
            "config",
            "embedded",
            "demo",
            "telemetry",
        ],
    ),
    ("main", &["cli", "telemetry"]),
];

#[test]
fn imports_point_one_way() {
    let source = Source::read();
    let imports = Imports::of(&source);
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let mut wrong = Vec::new();
    for (from, to) in imports.iter() {
        let (folder, imported) = (source::folder(from), source::folder(to));
        let may = allowed.get(folder).unwrap_or_else(|| panic!("say in this test what {folder} may import"));
        if folder != imported && imported != "lib" && !may.contains(&imported) {
            wrong.push(format!("{from} imports {to}"));
        }
    }
    assert!(wrong.is_empty(), "these imports point the wrong way:\n{}", wrong.join("\n"));
}

#[test]
fn no_files_import_one_another_in_a_circle() {
    let source = Source::read();
    let found: Vec<String> =
        circles(&Imports::of(&source)).into_iter().map(|circle| circle.join(" -> ")).collect();
    assert!(found.is_empty(), "circles:\n{}", found.join("\n"));
}

#[test]
fn what_is_read_is_the_whole_source() {
    let imports = Imports::of(&Source::read());
    let has = |from: &str, to: &str| imports.iter().any(|(one, other)| one == from && other == to);
    assert!(has("broker/topics.rs", "broker/error.rs"), "through what broker/mod.rs hands on");
    assert!(has("broker/topics.rs", "domain/topic.rs"));
    assert!(!has("domain/topic.rs", "broker/topics.rs"));
}
