//! The parsed files of `src`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The files of `src` by their paths there, with forward slashes.
pub(crate) struct Source(pub(crate) BTreeMap<String, syn::File>);

impl Source {
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = BTreeMap::new();
        let mut folders: Vec<PathBuf> = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|kind| kind == "rs") {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                    let text = fs::read_to_string(&path).unwrap();
                    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
                    files.insert(name, parsed);
                }
            }
        }
        Self(files)
    }

    /// The file that holds a module.
    pub(crate) fn file_of(&self, module: &[String]) -> Option<&str> {
        let path = module.join("/");
        let names = match module {
            [] => vec!["lib.rs".to_owned()],
            _ => vec![format!("{path}.rs"), format!("{path}/mod.rs")],
        };
        names.iter().find_map(|name| self.0.get_key_value(name)).map(|(name, _)| name.as_str())
    }
}

/// The module that a file is.
pub(crate) fn module(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" || path == "main" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The folder of `src` that a file belongs to, or the file itself.
pub(crate) fn folder(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}
