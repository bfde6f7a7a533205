//! Tells Cargo what the binary embeds without naming it in a `use`.

fn main() {
    // `embed_migrations!` reads the folder at compile time; without this line a new file goes unseen.
    println!("cargo:rerun-if-changed=migrations");
}
