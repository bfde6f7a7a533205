//! The schema, and what this role may do in it.

use super::finding::{Check, Finding, Item, Remedy, Status};

/// What makes functions, triggers and grants those of this version again.
const REPAIR: &str = "pgtopic migrate --repair";

/// What a role may not do, and must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivilegeFacts {
    /// The role, as SQL writes it.
    pub role: String,
    /// The statements that give it what it lacks, each with an example.
    pub missing: Vec<(String, String)>,
    /// Whether it may see what other roles do (`pg_read_all_stats`).
    pub sees_others: bool,
}

/// Judges what a role may do.
pub fn judge_privileges(facts: &PrivilegeFacts) -> Finding {
    let PrivilegeFacts { role, missing, sees_others } = facts;
    if !missing.is_empty() {
        let grants = missing.iter().map(|(grant, _)| grant.as_str()).collect::<Vec<_>>().join("; ");
        let examples = missing.iter().map(|(_, example)| example.as_str()).collect::<Vec<_>>().join(", ");
        let seen = format!("role {role} lacks rights: {examples}");
        let remedy = Remedy::new("The schema's owner gives them.").sql(grants);
        return Finding::bad(Check::Privileges, Status::Fail, seen, remedy);
    }
    if *sees_others {
        return Finding::ok(Check::Privileges, format!("role {role} may do what the API and workers do"));
    }
    let seen = format!(
        "role {role} may do what the API and workers do, but cannot see what other roles do: some checks know less"
    );
    let finding = Finding::ok(Check::Privileges, seen);
    Finding { remedy: Some(see_others(role)), ..finding }
}

/// What lets a role see what other roles do.
pub fn see_others(role: &str) -> Remedy {
    Remedy::new("A superuser may let this role see what other roles do.")
        .sql(format!("GRANT pg_read_all_stats TO {role}"))
}

/// A schema, compared with this version of pgtopic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFacts {
    /// The number of its newest migration; `None` if nothing is installed.
    pub number: Option<i32>,
    /// The newest migration that this version knows.
    pub known: i32,
    /// The name of the schema.
    pub name: String,
    /// Why this version cannot run on it.
    pub problem: Option<String>,
    /// Whether functions, triggers or grants of another version were applied.
    pub drifted: bool,
}

impl SchemaFacts {
    /// Whether this version of pgtopic can run on the schema.
    pub fn fits(&self) -> bool {
        self.number.is_some() && self.problem.is_none()
    }
}

/// Judges the version of the schema.
pub fn judge_schema(facts: &SchemaFacts) -> Finding {
    let SchemaFacts { number, known, name, problem, drifted } = facts;
    if let Some(problem) = problem {
        let remedy = match number {
            Some(number) if number > known => Remedy::new("Upgrade pgtopic."),
            _ => Remedy::new("Bring the schema up to date.").command("pgtopic migrate"),
        };
        return Finding::bad(Check::Schema, Status::Fail, problem.clone(), remedy);
    }
    let number = number.unwrap_or_default();
    let seen = format!("schema \"{name}\" is at version {number}, this pgtopic knows version {known}");
    if *drifted {
        let seen = format!("{seen}; functions, triggers or grants of another build were applied");
        let remedy = Remedy::new("Apply those of this version.").command(REPAIR);
        return Finding::bad(Check::Schema, Status::Warn, seen, remedy);
    }
    if number < *known {
        let remedy = Remedy::new("Bring the schema up to date.").command("pgtopic migrate");
        return Finding::bad(Check::Schema, Status::Warn, seen, remedy);
    }
    Finding::ok(Check::Schema, seen)
}

/// Judges the functions: those that are missing, or are not those of this version.
pub fn judge_functions(wrong: &[String]) -> Finding {
    if wrong.is_empty() {
        return Finding::ok(Check::Functions, "all functions are those of this version");
    }
    let seen = format!("{} functions are missing or changed: {}", wrong.len(), wrong.join(", "));
    let remedy = Remedy::new("Apply those of this version.").command(REPAIR);
    Finding::bad(Check::Functions, Status::Fail, seen, remedy).listing(wrong.iter().map(Item::new))
}

/// The triggers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TriggerFacts {
    /// Those that are missing, changed or switched off.
    pub wrong: Vec<String>,
    /// Those of others that run on messages after ours.
    pub later: Vec<String>,
    /// The table of messages, as SQL writes it.
    pub messages: String,
}

/// Judges the triggers.
pub fn judge_triggers(facts: &TriggerFacts) -> Finding {
    let TriggerFacts { wrong, later, messages } = facts;
    if !wrong.is_empty() {
        let seen = format!("triggers are missing, changed or switched off: {}", wrong.join(", "));
        let remedy = Remedy::new("Make those of this version.").command(REPAIR);
        return Finding::bad(Check::Triggers, Status::Fail, seen, remedy)
            .listing(wrong.iter().map(Item::new));
    }
    if let Some(first) = later.first() {
        let seen = format!(
            "these triggers run on messages after zz_messages_publish, and may change what was fanned out already: {}",
            later.join(", ")
        );
        let rename = |name: &str| format!("ALTER TRIGGER {name} ON {messages} RENAME TO before_pgtopic");
        let text = "Give the trigger a name that sorts before zz_messages_publish.";
        let remedy = Remedy::new(text).sql(rename(first));
        return Finding::bad(Check::Triggers, Status::Warn, seen, remedy)
            .listing(later.iter().map(Item::new));
    }
    Finding::ok(Check::Triggers, "all triggers are there, switched on, and in order")
}

/// An index that is missing or invalid, and the SQL that makes it.
pub type WrongIndex = (String, String);

/// Judges the indexes.
pub fn judge_indexes(wrong: &[WrongIndex]) -> Finding {
    let Some((_, sql)) = wrong.first() else {
        return Finding::ok(Check::Indexes, "all indexes are there and valid");
    };
    let names = wrong.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let remedy = Remedy::new("Make the index anew.").sql(sql);
    let items = wrong.iter().map(|(name, sql)| Item::with(name, Remedy::new("Make it anew.").sql(sql)));
    Finding::bad(Check::Indexes, Status::Fail, format!("indexes are missing or invalid: {names}"), remedy)
        .listing(items)
}

/// Judges the sequences. `raise`: the statements that raise those that would give ids again.
pub fn judge_sequences(raise: &[String]) -> Finding {
    if raise.is_empty() {
        return Finding::ok(Check::Sequences, "no sequence gives an id that is in use");
    }
    let seen = "ids that are in use would be given again: rows were copied without their sequences";
    let remedy = Remedy::new("Raise the sequences.").sql(raise.join("; "));
    Finding::bad(Check::Sequences, Status::Fail, seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_that_are_missing_are_granted() {
        let facts = PrivilegeFacts { role: "w".to_owned(), missing: Vec::new(), sees_others: true };
        assert_eq!(judge_privileges(&facts).status, Status::Ok);
        let blind = judge_privileges(&PrivilegeFacts { sees_others: false, ..facts.clone() });
        assert_eq!(blind.status, Status::Ok);
        assert_eq!(blind.remedy.unwrap().sql.unwrap(), "GRANT pg_read_all_stats TO w");
        let missing = vec![("GRANT x".to_owned(), "y".to_owned())];
        let finding = judge_privileges(&PrivilegeFacts { missing, ..facts });
        assert_eq!((finding.status, finding.remedy.unwrap().sql), (Status::Fail, Some("GRANT x".to_owned())));
    }

    #[test]
    fn a_schema_fits_or_is_named_with_what_makes_it_fit() {
        let facts = SchemaFacts {
            number: Some(3),
            known: 3,
            name: "pgtopic".to_owned(),
            problem: None,
            drifted: false,
        };
        let judge = |facts: SchemaFacts| {
            let finding = judge_schema(&facts);
            (finding.status, finding.remedy.and_then(|remedy| remedy.command))
        };
        assert_eq!(judge(facts.clone()), (Status::Ok, None));
        let migrate = Some("pgtopic migrate".to_owned());
        assert_eq!(judge(SchemaFacts { number: Some(2), ..facts.clone() }), (Status::Warn, migrate.clone()));
        assert_eq!(
            judge(SchemaFacts { drifted: true, ..facts.clone() }),
            (Status::Warn, Some(REPAIR.to_owned()))
        );
        let problem = Some("no".to_owned());
        let none = SchemaFacts { number: None, problem: problem.clone(), ..facts.clone() };
        assert!(!none.fits() && facts.fits());
        assert_eq!(judge(none), (Status::Fail, migrate));
        assert_eq!(judge(SchemaFacts { number: Some(4), problem, ..facts }), (Status::Fail, None));
    }

    #[test]
    fn what_differs_is_named() {
        assert_eq!(judge_functions(&[]).status, Status::Ok);
        let finding = judge_functions(&["settle".to_owned()]);
        assert!(finding.status == Status::Fail && finding.seen.contains("settle"));
        let wrong = TriggerFacts {
            wrong: vec!["a".to_owned()],
            later: vec!["z".to_owned()],
            ..TriggerFacts::default()
        };
        assert_eq!(judge_triggers(&wrong).status, Status::Fail);
        assert_eq!(judge_triggers(&TriggerFacts { wrong: Vec::new(), ..wrong }).status, Status::Warn);
        assert_eq!(judge_triggers(&TriggerFacts::default()).status, Status::Ok);
        assert_eq!(judge_indexes(&[]).status, Status::Ok);
        let finding = judge_indexes(&[("i".to_owned(), "REINDEX INDEX i".to_owned())]);
        assert_eq!((finding.status, finding.items.len()), (Status::Fail, 1));
        assert_eq!(judge_sequences(&[]).status, Status::Ok);
        assert_eq!(judge_sequences(&["SELECT 1".to_owned()]).status, Status::Fail);
    }
}
