//! What is wrong with a request: which field breaks which rule.

use std::fmt;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field. A nested field is a path: `messages[3].payload`.
    pub field: String,
    /// The rule. It is read after the field's name.
    pub rule: String,
}

/// All broken rules that one check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// A single broken rule.
    pub fn one(field: impl Into<String>, rule: impl Into<String>) -> Self {
        let mut violations = Self::default();
        violations.add(field, rule);
        violations
    }

    /// Adds a broken rule.
    pub fn add(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.0.push(Violation { field: field.into(), rule: rule.into() });
    }

    /// Adds the rule as broken unless it holds.
    pub fn require(&mut self, holds: bool, field: &str, rule: &str) {
        if !holds {
            self.add(field, rule);
        }
    }

    /// Adds the rules that a part broke. Each field gets the part's path before it.
    pub fn add_all(&mut self, path: &str, part: Result<(), Self>) {
        if let Err(Self(broken)) = part {
            self.0.extend(
                broken
                    .into_iter()
                    .map(|Violation { field, rule }| Violation { field: format!("{path}.{field}"), rule }),
            );
        }
    }

    /// Ends the check.
    ///
    /// # Errors
    /// The broken rules, if there are any.
    pub fn finish(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The broken rules, in the order in which they were found.
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Violation { field, rule }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{field} {rule}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
