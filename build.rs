//! Tells Cargo what the binary embeds without naming it in a `use`, and lists the files of
//! `sql/functions`.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    // `embed_migrations!` reads the folder at compile time; without this line a new file goes
    // unseen.
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=sql/functions");
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let mut names = Vec::new();
    list(&Path::new(&root).join("sql/functions"), "", &mut names)?;
    names.sort();
    let entries: Vec<String> =
        names.iter().map(|name| format!("    ({name:?}, sql!(\"functions/{name}\")),\n")).collect();
    fs::write(Path::new(&out).join("functions.rs"), format!("&[\n{}]\n", entries.concat()))
}

/// Adds the names of all `.sql` files below a folder, with their area: `publishing/stripe`.
fn list(folder: &Path, area: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.is_dir() {
            list(&path, &format!("{area}{stem}/"), names)?;
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            names.push(format!("{area}{stem}"));
        }
    }
    Ok(())
}
