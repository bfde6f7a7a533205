//! The screen Settings: those of the process that answers, with their defaults and meanings.

use askama::Template;
use axum::{extract::State, http::Method};

use super::{
    admit::ConsoleState,
    failure::Failure,
    frame::{Screen, Section},
    text,
    visitor::Visitor,
};
use crate::config::Shown;

#[derive(Debug, PartialEq, Eq)]
struct Row {
    key: String,
    value: String,
    /// The default, if it is another one.
    default: Option<String>,
    origin: String,
    meaning: String,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct View {
    changed: Vec<Row>,
    sections: Vec<(String, Vec<Row>)>,
}

/// Who may see what `doctor` says of the settings, may see them.
pub(super) async fn show(visitor: Visitor, State(state): State<ConsoleState>) -> Result<Screen, Failure> {
    visitor.broker(&[(&Method::GET, "/doctor")])?;
    Screen::still("Settings", Section::Health, &view(&state.settings))
}

fn view(settings: &[Shown]) -> View {
    let changed = settings.iter().filter(|setting| setting.is_changed()).map(row).collect();
    let mut sections: Vec<(String, Vec<Row>)> = Vec::new();
    for setting in settings {
        let section = setting.key.split('.').next().unwrap_or_default();
        match sections.last_mut().filter(|(name, _)| name == section) {
            Some((_, rows)) => rows.push(row(setting)),
            None => sections.push((section.to_owned(), vec![row(setting)])),
        }
    }
    View { changed, sections }
}

fn row(setting: &Shown) -> Row {
    let shown = |value: &str| if value.is_empty() { "not set".to_owned() } else { text::line(value) };
    Row {
        key: setting.key.clone(),
        value: shown(&setting.value),
        default: setting.is_changed().then(|| shown(&setting.default)),
        origin: text::line(&setting.origin),
        meaning: setting.meaning.clone(),
    }
}
