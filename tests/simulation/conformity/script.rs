//! Runs scripts on the model and on the server, and compares what can be seen after each step.

use std::{fmt::Write, rc::Rc};

use super::{
    action::{Action, Mode, SESSIONS, Seen, Stands, Step},
    generate::{Generator, TOPICS},
    model::Model,
    real::Real,
};
use crate::functions::guards::Guards;

/// How many steps a script has before it is brought to its end; and where sessions stop at break
/// points, which take most of the steps.
const STEPS: usize = 50;
const STEPS_OF_STOPPING: usize = 120;

/// How many orders of those who go on at once are tried. Two sessions may wait for one, and then the
/// server runs both at once.
const ORDERS: u64 = 200;

/// A difference between the model and the server.
pub(crate) struct Difference {
    pub(crate) steps: Vec<Step>,
    pub(crate) model: Seen,
    pub(crate) real: Seen,
}

impl Difference {
    /// The script and both answers.
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let _ = writeln!(text, "  {} {:?}", step.session, step.action);
        }
        let _ = writeln!(
            text,
            "model: {:?} {:?} {:?}",
            self.model.stands, self.model.answers, self.model.notifications
        );
        let _ = writeln!(
            text,
            "real:  {:?} {:?} {:?}",
            self.real.stands, self.real.answers, self.real.notifications
        );
        for line in self.model.tables.iter().filter(|line| !self.real.tables.contains(line)) {
            let _ = writeln!(text, "only in the model: {line}");
        }
        for line in self.real.tables.iter().filter(|line| !self.model.tables.contains(line)) {
            let _ = writeln!(text, "only on the server: {line}");
        }
        text
    }
}

/// A model that follows the server.
struct Follower {
    model: Model,
    mode: Mode,
    guards: Guards,
    lanes: Rc<Vec<((i64, u32), i64)>>,
    steps: Vec<Step>,
    seen: Vec<Seen>,
}

impl Follower {
    async fn new(real: &Real, mode: Mode, guards: Guards) -> Self {
        let lanes = Rc::new(real.lanes(TOPICS).await);
        let model = Model::new(0, mode, guards, &lanes);
        Self { model, mode, guards, lanes, steps: Vec::new(), seen: Vec::new() }
    }

    /// A step on both sides. If the answers differ, other orders are tried.
    async fn step(&mut self, real: &mut Real, step: Step) -> Option<Difference> {
        let model = self.model.step(step.session, &step.action);
        let server = real.step(step.session, &step.action).await;
        real.coverage.note(&step, &server);
        self.steps.push(step);
        self.seen.push(server.clone());
        if model == server || self.find_order() {
            return None;
        }
        Some(Difference { steps: self.steps.clone(), model, real: server })
    }

    /// Looks for an order in which the model does what the server did in all steps so far.
    fn find_order(&mut self) -> bool {
        let raced = self.seen.windows(2).any(|pair| {
            let waited = |seen: &Seen| seen.stands.iter().filter(|stands| **stands == Stands::Waits).count();
            waited(&pair[0]) > 0 && waited(&pair[1]) < waited(&pair[0])
        });
        if !raced {
            return false;
        }
        for order in 1..=ORDERS {
            let model = Model::new(order, self.mode, self.guards, &self.lanes);
            let mut pairs = self.steps.iter().zip(&self.seen);
            if pairs
                .all(|(step, seen)| can_do(&model, step) && model.step(step.session, &step.action) == *seen)
            {
                self.model = model;
                return true;
            }
        }
        false
    }
}

/// Whether the session can take a step: it waits for nothing, and goes on only from a break point.
fn can_do(model: &Model, step: &Step) -> bool {
    let goes_on = matches!(step.action, Action::GoOn);
    model.stands()[step.session] == if goes_on { Stands::Stopped } else { Stands::Idle }
}

/// Runs a script that follows from a seed.
pub(crate) async fn run(real: &mut Real, seed: u64, mode: Mode, guards: Guards) -> Option<Difference> {
    real.reset().await;
    let mut generator = Generator::new(seed, mode);
    let mut follower = Follower::new(real, mode, guards).await;
    let mut found = None;
    for step in Generator::beginning() {
        if found.is_none() {
            found = follower.step(real, step).await;
        }
        while found.is_none() && follower.model.stands()[0] == Stands::Stopped {
            found = follower.step(real, Step { session: 0, action: Action::GoOn }).await;
        }
    }
    let steps = if mode.stops.contains(&true) { STEPS_OF_STOPPING } else { STEPS };
    for _ in 0..steps {
        if found.is_some() {
            break;
        }
        let Some(step) = generator.next(&follower.model) else { break };
        found = follower.step(real, step).await;
    }
    finish(&mut follower, real, found).await
}

/// Ends all transactions. After a difference only the server's end counts.
async fn finish(
    follower: &mut Follower,
    real: &mut Real,
    mut found: Option<Difference>,
) -> Option<Difference> {
    while found.is_none() {
        // All sessions may wait for prepared transactions: then nothing is left to compare.
        let Some(step) = Generator::finish(&follower.model) else { break };
        found = follower.step(real, step).await;
    }
    real.end().await;
    found
}

/// Runs given steps. Those that a session cannot take are left out.
pub(crate) async fn replay(
    real: &mut Real,
    steps: &[Step],
    mode: Mode,
    guards: Guards,
) -> Option<Difference> {
    real.reset().await;
    let mut follower = Follower::new(real, mode, guards).await;
    let mut found = None;
    for step in steps {
        if can_do(&follower.model, step) && is_possible(&follower.model, step) {
            found = follower.step(real, step.clone()).await;
        }
        if found.is_some() {
            break;
        }
    }
    finish(&mut follower, real, found).await
}

/// Whether a step makes sense where a script has come to, after earlier steps were left out.
fn is_possible(model: &Model, step: &Step) -> bool {
    let open = model.sessions[step.session].transaction().is_some();
    match &step.action {
        Action::Begin(_) => !open,
        Action::EndPrepared(gid, _) => !open && model.database.state().prepared.contains_key(gid),
        Action::Savepoint(_) | Action::RollbackTo(_) | Action::Release(_) | Action::Prepare(_) => open,
        _ => true,
    }
}

/// Leaves steps out for as long as there is a difference.
pub(crate) async fn shrink(real: &mut Real, mut found: Difference, mode: Mode, guards: Guards) -> Difference {
    let mut width = found.steps.len() / 2;
    while width > 0 {
        let mut at = 0;
        while at < found.steps.len() {
            let mut fewer = found.steps.clone();
            fewer.drain(at..(at + width).min(found.steps.len()));
            match replay(real, &fewer, mode, guards).await {
                Some(smaller) => found = smaller,
                None => at += width,
            }
        }
        width /= 2;
    }
    found
}

/// No session stops.
pub(crate) const PLAIN: Mode =
    Mode { stops: [false; SESSIONS], lock_timeouts: false, prepares: false, notifies: true, breakers: false };
