//! Which file names something of which other file.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Attribute, Item, ItemMacro, ItemMod, ItemUse, Path, UseTree, Visibility,
    visit::{self, Visit},
};

use crate::source::{Source, module};

/// Pairs of files: the first one names something that the second one holds. Names that only tests
/// use are left out.
pub(crate) struct Imports(BTreeSet<(String, String)>);

impl Imports {
    pub(crate) fn of(source: &Source) -> Self {
        let handed_on = handed_on(source);
        let mut imports = BTreeSet::new();
        for (file, parsed) in &source.0 {
            let mut names = Names { module: module(file), found: Vec::new() };
            names.visit_file(parsed);
            for name in names.found {
                if let Some(target) = resolve(source, &handed_on, &name).filter(|target| target != file) {
                    imports.insert((file.clone(), target));
                }
            }
        }
        Self(imports)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(from, to)| (from.as_str(), to.as_str()))
    }
}

/// What modules re-export of their children. Module and name lead to the full path. `*` stands for
/// every name.
type HandedOn = BTreeMap<(Vec<String>, String), Vec<Vec<String>>>;

fn handed_on(source: &Source) -> HandedOn {
    let mut all = HandedOn::new();
    for (file, parsed) in &source.0 {
        let own = module(file);
        for item in &parsed.items {
            let Item::Use(item) = item else { continue };
            if matches!(item.vis, Visibility::Inherited) || is_test(&item.attrs) {
                continue;
            }
            let mut leaves = Vec::new();
            leaves_of(&item.tree, &mut Vec::new(), &mut leaves);
            for (path, name) in leaves {
                if let Some(path) = absolute(&own, &path) {
                    all.entry((own.clone(), name)).or_default().push(path);
                }
            }
        }
    }
    all
}

/// The paths of a `use`, each with its name in this file.
fn leaves_of(tree: &UseTree, before: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves_of(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            leaves.push((before.clone(), before.last().cloned().unwrap_or_default()));
        }
        UseTree::Name(name) => leaves.push((with(before, &name.ident.to_string()), name.ident.to_string())),
        UseTree::Rename(name) => {
            leaves.push((with(before, &name.ident.to_string()), name.rename.to_string()));
        }
        UseTree::Glob(_) => leaves.push((before.clone(), "*".to_owned())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves_of(tree, before, leaves)),
    }
}

fn with(path: &[String], name: &str) -> Vec<String> {
    [path, &[name.to_owned()]].concat()
}

/// A path from the crate's root, if it leads into this crate.
fn absolute(own: &[String], path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" | "pgtopic" => Vec::new(),
        "self" => own.to_vec(),
        "super" => own[..own.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    for (index, segment) in rest.iter().enumerate() {
        if segment == "super" {
            base.pop()?;
        } else {
            base.extend_from_slice(&rest[index..]);
            break;
        }
    }
    Some(base)
}

/// The file that holds what a path names, through all re-exports.
fn resolve(source: &Source, handed_on: &HandedOn, path: &[String]) -> Option<String> {
    for length in (0..=path.len()).rev() {
        let (module, rest) = path.split_at(length);
        let Some(file) = source.file_of(module) else { continue };
        let Some(name) = rest.first() else { return Some(file.to_owned()) };
        let named = handed_on.get(&(module.to_vec(), name.clone())).into_iter().flatten();
        let globs = handed_on.get(&(module.to_vec(), "*".to_owned())).into_iter().flatten();
        for target in named.chain(globs) {
            if target.as_slice() == module || target.starts_with(path) {
                continue;
            }
            let is_glob = target.last() != Some(name);
            if is_glob && !source.file_of(target).is_some_and(|file| defines(&source.0[file], name)) {
                continue;
            }
            if let Some(found) = resolve(source, handed_on, target) {
                return Some(found);
            }
        }
        return Some(file.to_owned());
    }
    None
}

/// Whether a file defines something with this name that others may use.
fn defines(file: &syn::File, name: &str) -> bool {
    file.items.iter().any(|item| {
        let ident = match item {
            Item::Struct(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Const(item) => &item.ident,
            Item::Static(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::Type(item) => &item.ident,
            _ => return false,
        };
        ident == name
    })
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "test")
    })
}

/// Collects the absolute paths that a file names.
struct Names {
    module: Vec<String>,
    found: Vec<Vec<String>>,
}

impl<'a> Visit<'a> for Names {
    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        // A re-export is named by the files that use it.
        if is_test(&item.attrs) || !matches!(item.vis, Visibility::Inherited) {
            return;
        }
        let mut leaves = Vec::new();
        leaves_of(&item.tree, &mut Vec::new(), &mut leaves);
        let module = &self.module;
        self.found.extend(leaves.into_iter().filter_map(|(path, _)| absolute(module, &path)));
    }

    fn visit_path(&mut self, path: &'a Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found.extend(absolute(&self.module, &segments));
        visit::visit_path(self, path);
    }

    fn visit_item_macro(&mut self, _: &'a ItemMacro) {}

    // `pub(in crate::…)` says who may see it, and names nothing.
    fn visit_visibility(&mut self, _: &'a Visibility) {}
}
