//! Runs of the simulator. Environment variables choose what is run:
//!
//! | variable | what |
//! |---|---|
//! | `SIMULATION_SEED` | this seed alone (`replay`) |
//! | `SIMULATION_KEEP` | only these items of its plan, as `1,5,9` |
//! | `SIMULATION_WITHOUT` | without this guard |
//! | `SIMULATION_TRACE` | all that engines hear and want is printed |
//! | `SIMULATION_MINUTES` | how long `long` runs |
//! | `SIMULATION_SECONDS` | how many CPU seconds `long`, or each try of `guards`, takes at most |
//! | `SIMULATION_TRIES` | how many tries `guards` makes |
//! | `SIMULATION_FROM` | its first seed |
//! | `SIMULATION_FIRST` | it ends with the first seed that fails |

use std::time::{Duration, Instant};

use super::{
    plan::Plan,
    run::{Report, run},
    shrink::{kind, only, shrink},
};
use crate::functions::guards::Guard;

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a seed; what is wrong is shrunk and told.
fn check(seed: u64) -> Report {
    let plan = Plan::new(seed);
    let report = run(&plan);
    if let Some(broken) = &report.broken {
        panic!("{}", tell(&plan, broken));
    }
    report
}

fn tell(plan: &Plan, broken: &str) -> String {
    let left = shrink(plan, kind(broken), 300);
    let short = only(plan, &left);
    let report = run(&short);
    let numbers: Vec<String> = left.iter().map(ToString::to_string).collect();
    let items: Vec<String> =
        short.items.iter().map(|item| format!("  {} {:?}", item.at, item.what)).collect();
    let without = plan.without.map(|guard| format!(" SIMULATION_WITHOUT={guard:?}")).unwrap_or_default();
    format!(
        "{broken}\nshorter: {:?}\n{}\n{}\nreplay: SIMULATION_SEED={} SIMULATION_KEEP={}{without} cargo test --test simulation -- world::tests::replay --exact --ignored --nocapture",
        report.broken,
        report.lines.join("\n"),
        items.join("\n"),
        plan.seed,
        numbers.join(",")
    )
}

#[test]
fn fixed_seeds_keep_all_promises() {
    for seed in 1..=20 {
        check(seed);
    }
}

/// Runs without open breakers say nothing of them: seeds are tried until some have opened.
#[test]
fn fixed_seeds_with_breakers_keep_all_promises() {
    let (mut opened, mut probes) = (0, 0);
    for seed in (100..300).filter(|seed| Plan::new(*seed).breakers) {
        let counts = check(seed).counts;
        opened += counts.opened;
        probes += counts.probes;
        if opened >= 3 && probes >= 3 {
            return;
        }
    }
    panic!("{opened} breakers opened, {probes} probes");
}

#[test]
fn a_seed_gives_the_same_history() {
    for seed in [3, 4, 5] {
        let plan = Plan::new(seed);
        let (first, second) = (run(&plan), run(&plan));
        assert_eq!((first.hash, first.steps), (second.hash, second.steps), "seed {seed}");
    }
    assert_ne!(run(&Plan::new(3)).hash, run(&Plan::new(4)).hash);
}

#[test]
fn new_seeds_keep_all_promises() {
    let first: u64 = rand::random::<u64>() >> 16;
    println!("seeds from {first}");
    let began = Instant::now();
    for seed in first.. {
        if began.elapsed() > Duration::from_secs(8) {
            break;
        }
        check(seed);
    }
}

/// Replays one seed, and tells all of it.
#[test]
#[ignore = "needs SIMULATION_SEED"]
fn replay() {
    let mut plan = Plan::new(variable("SIMULATION_SEED").unwrap_or(1));
    plan.without = without();
    if let Some(keep) = variable::<String>("SIMULATION_KEEP") {
        let numbers: Vec<usize> = keep.split(',').filter_map(|number| number.parse().ok()).collect();
        plan = only(&plan, &numbers);
    }
    let report = run(&plan);
    println!("{:?}", Plan { items: Vec::new(), ..plan.clone() });
    println!("{}", report.lines.join("\n"));
    println!("{:?}, hash {:x}, {} steps", report.broken, report.hash, report.steps);
    if variable::<u8>("SIMULATION_SHRINK").is_some()
        && let Some(broken) = &report.broken
    {
        println!("{}", tell(&plan, broken));
    }
    assert_eq!(report.broken, None);
}

fn without() -> Option<Guard> {
    let name = variable::<String>("SIMULATION_WITHOUT")?;
    Guard::ALL.into_iter().find(|guard| format!("{guard:?}") == name)
}

/// The processor time of this thread, in seconds.
fn cpu() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
    micros as f64 / 1e6
}

/// Runs for `SIMULATION_MINUTES`, and prints how much it did.
#[test]
#[ignore = "takes as long as SIMULATION_MINUTES says"]
fn long() {
    let minutes: f64 = variable("SIMULATION_MINUTES").unwrap_or(1.0);
    let seconds: Option<f64> = variable("SIMULATION_SECONDS");
    let first = variable("SIMULATION_FROM").unwrap_or_else(|| rand::random::<u64>() >> 16);
    let (began, at) = (Instant::now(), cpu());
    let (mut runs, mut steps, mut engine, mut messages, mut requests, mut faults, mut dead) =
        (0u64, 0, 0, 0, 0, 0, 0);
    let mut failed = Vec::new();
    let (mut rest, mut waited, mut missed) = (0, 0, 0);
    for seed in first.. {
        let is_over = match seconds {
            Some(seconds) => cpu() - at >= seconds,
            None => began.elapsed().as_secs_f64() > minutes * 60.0,
        };
        if is_over {
            break;
        }
        let mut plan = Plan::new(seed);
        plan.without = without();
        let report = run(&plan);
        rest = rest.max(report.counts.rest);
        waited = waited.max(report.counts.waited);
        missed = missed.max(report.counts.missed);
        runs += 1;
        steps += report.steps;
        engine += report.counts.engine;
        messages += report.counts.messages;
        requests += report.counts.requests;
        faults += report.counts.faults;
        dead += report.counts.dead;
        if let Some(broken) = report.broken {
            println!("seed {seed}: {broken}");
            failed.push(seed);
            if variable::<u8>("SIMULATION_FIRST").is_some() {
                break;
            }
        }
    }
    let seconds = cpu() - at;
    let per_second = |count: u64| count as f64 / seconds;
    println!(
        "{runs} runs from {first}, {seconds:.1} CPU seconds: {:.0} events/s ({:.0} steps, {:.0} of engines), {:.0} messages/s, {:.0} requests/s, {:.1} faults/s, {dead} given up; the longest rest {} ms, the longest wait {} ms, beside a free slot {} ms",
        per_second(steps + engine),
        per_second(steps),
        per_second(engine),
        per_second(messages),
        per_second(requests),
        per_second(faults),
        rest / 1_000,
        waited / 1_000,
        missed / 1_000
    );
    assert!(failed.is_empty(), "{} of {runs} seeds: {failed:?}", failed.len());
}

/// How fast a guard that is taken out is found: prints the CPU seconds of five tries.
#[test]
#[ignore = "measures"]
fn guards() {
    let wanted = without();
    for guard in Guard::ALL.into_iter().filter(|guard| wanted.is_none_or(|wanted| wanted == *guard)) {
        let mut found = Vec::new();
        let limit = variable("SIMULATION_SECONDS").unwrap_or(60.0);
        for try_number in 0..variable("SIMULATION_TRIES").unwrap_or(5u64) {
            let began = cpu();
            let mut seed = 1_000_000 * (try_number + 1);
            let broken = loop {
                let mut plan = Plan::new(seed);
                plan.without = Some(guard);
                let report = run(&plan);
                if report.broken.is_some() || cpu() - began > limit {
                    break report.broken;
                }
                seed += 1;
            };
            let seconds = cpu() - began;
            found.push((if broken.is_some() { seconds } else { f64::INFINITY }, seed, broken));
        }
        found.sort_by(|one, other| one.0.total_cmp(&other.0));
        let all: Vec<String> = found.iter().map(|(seconds, ..)| format!("{seconds:.2}")).collect();
        let middle = found.len() / 2;
        let (_, seed, broken) = &found[middle];
        let kind = broken.as_deref().map_or("not found", kind);
        println!("| {guard:?} | {} | {} | {kind} (seed {seed}) |", all[middle], all.join(" "));
    }
}
