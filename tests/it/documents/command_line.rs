//! `docs/command-line.md`: its reference is what `--help` says, and its table of routes is complete.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use clap::{Command, CommandFactory as _};
use pgtopic::{api, cli::Cli};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/command-line.md");

/// What stands before the reference.
const MARK: &str = "<!-- The rest is written by a test: see docs/testing.md. -->\n";

/// The whole command line, for a terminal of 100 columns.
fn command_line() -> Command {
    let mut cli = Cli::command().term_width(100).disable_help_subcommand(true);
    // This flag's text names a directory of the user who runs it.
    let dev = cli.find_subcommand_mut("dev").unwrap();
    *dev = dev.clone().mut_arg("data_dir", |arg| arg.help("Keep the data in this directory"));
    cli.build();
    cli
}

/// Every command with its words: `topics list`. A family comes before its verbs.
fn commands(of: &Command, words: &str, found: &mut Vec<(String, Command)>) {
    for command in of.get_subcommands() {
        let words = format!("{words} {}", command.get_name()).trim().to_owned();
        found.push((words.clone(), command.clone()));
        commands(command, &words, found);
    }
}

fn all_commands() -> Vec<(String, Command)> {
    let mut found = Vec::new();
    commands(&command_line(), "", &mut found);
    found
}

/// The commands that do something: those without verbs of their own, and those that also run alone.
fn runnable() -> BTreeSet<String> {
    let runs = |command: &Command| !command.has_subcommands() || !command.is_subcommand_required_set();
    all_commands().into_iter().filter(|(_, command)| runs(command)).map(|(words, _)| words).collect()
}

/// The text of `--help`. A verb of a family shows the common options of its family, so they are left
/// out.
fn help(cli: &Command, words: &str) -> String {
    let line = ["pgtopic"].into_iter().chain(words.split_whitespace()).chain(["--help"]);
    let text = cli.clone().try_get_matches_from(line).unwrap_err().render().to_string();
    let text = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    match text.split_once("\nCommon options:\n") {
        Some((before, _)) if words.contains(' ') => before.trim_end().to_owned(),
        _ => text.trim_end().to_owned(),
    }
}

fn reference() -> String {
    let cli = command_line();
    let mut text = format!("## Reference\n\n```text\n{}\n```\n", help(&cli, ""));
    for (words, _) in all_commands() {
        write!(text, "\n### {words}\n\n```text\n{}\n```\n", help(&cli, &words)).unwrap();
    }
    text
}

fn page() -> String {
    std::fs::read_to_string(PAGE).unwrap()
}

#[test]
fn the_reference_is_what_help_says() {
    let (by_hand, kept) = page().split_once(MARK).map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let reference = format!("\n{}", reference());
    if std::env::var_os("PGTOPIC_WRITE_COMMAND_LINE").is_some() {
        std::fs::write(Path::new(PAGE), format!("{by_hand}{MARK}{reference}")).unwrap();
    } else {
        let differs = kept.lines().zip(reference.lines()).find(|(kept, now)| kept != now);
        assert!(
            kept == reference,
            "write {PAGE} anew with PGTOPIC_WRITE_COMMAND_LINE=1, and read what changed; the first line that differs: \
             {differs:?}"
        );
    }
}

/// Help is read in a hurry: one line says what a command does.
#[test]
fn every_command_and_every_flag_is_described() {
    for (words, command) in all_commands() {
        let about = command.get_about().unwrap_or_else(|| panic!("{words} says nothing")).to_string();
        assert!(about.len() <= 100 && !about.ends_with('.'), "{words}: {about}");
        for flag in command.get_arguments() {
            assert!(flag.get_help().is_some(), "{words}: {} says nothing", flag.get_id());
        }
    }
}

/// The cells of the rows of the table below a heading, without backquotes.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let begin = page.find(heading).unwrap_or_else(|| panic!("no {heading}")) + heading.len();
    let section = page[begin..].split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        row.trim_matches('|').split(" | ").map(|cell| cell.replace('`', "").trim().to_owned()).collect()
    })
    .collect()
}

/// The routes of the description, which is made from the handlers.
fn routes() -> BTreeSet<String> {
    let document = api::openapi();
    let paths = document["paths"].as_object().unwrap();
    let methods = |(path, operations): (&String, &serde_json::Value)| {
        let methods = operations.as_object().unwrap().keys();
        methods.map(|method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

/// A row names a route and its commands, or says why it has none.
#[test]
fn every_route_has_its_command_and_every_command_its_route_or_a_reason() {
    let page = page();
    let (with_route, without_route) =
        (rows(&page, "## Routes and commands"), rows(&page, "## Commands without a route"));
    let named: BTreeSet<String> = with_route.iter().map(|row| row[0].clone()).collect();
    assert_eq!(named, routes(), "the table of routes");

    let runnable = runnable();
    let mut used = BTreeSet::new();
    for row in with_route.iter().filter(|row| !row[1].starts_with("none: ")) {
        for command in row[1].split(", ") {
            assert!(runnable.contains(command), "{}: there is no command {command:?}", row[0]);
            used.insert(command.to_owned());
        }
    }
    for row in &without_route {
        assert!(used.insert(row[0].clone()), "{} has a route", row[0]);
        assert!(row[1].len() > 10, "{}: why has it no route?", row[0]);
    }
    assert_eq!(used, runnable, "the commands of both tables");
}
