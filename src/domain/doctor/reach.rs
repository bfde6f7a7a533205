//! How the database is reached.

use std::time::Duration;

use jiff::SignedDuration;

use super::{
    finding::{Check, Finding, Item, Remedy, Status},
    words::span,
};

/// The oldest version of PostgreSQL that pgtopic runs on, as `server_version_num` has it.
const VERSION_MIN: i32 = 140_000;
/// A round trip that takes longer than this slows deliveries down.
const ROUND_TRIP_WARN: Duration = Duration::from_millis(20);
/// If more of the server's connections are in use, in percent, new processes may get none soon.
const CONNECTIONS_WARN: i64 = 90;
/// How far the clocks may be apart.
const CLOCK_WARN: SignedDuration = SignedDuration::from_secs(1);
/// If they are further apart, receivers may refuse signatures: they bear 5 minutes at most.
const CLOCK_FAIL: SignedDuration = SignedDuration::from_mins(1);

/// The session that the checks use.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionFacts {
    /// The database's name.
    pub database: String,
    /// The role.
    pub role: String,
    /// `server_version_num`.
    pub version: i32,
    /// Whether the server is a standby.
    pub standby: bool,
    /// Whether its sessions are read-only.
    pub read_only: bool,
    /// The connections of clients that are open, and how many there may be.
    pub connections: (i64, i64),
    /// The quickest of several round trips.
    pub round_trip: Duration,
    /// How far the database's clock is ahead of this machine's.
    pub clock_ahead: SignedDuration,
}

/// Judges the connection.
pub fn judge_connection(facts: &SessionFacts) -> Finding {
    let SessionFacts { database, role, version, connections: (open, most), round_trip, .. } = facts;
    let (check, milliseconds) = (Check::Connection, round_trip.as_secs_f64() * 1000.0);
    let seen = format!(
        "database {database} as role {role}, PostgreSQL {}.{}, {open} of {most} connections in use, round trip \
         {milliseconds:.1} ms",
        version / 10_000,
        version % 10_000
    );
    if *version < VERSION_MIN {
        return Finding::bad(check, Status::Fail, seen, Remedy::new("Use PostgreSQL 14 or newer."));
    }
    if facts.standby || facts.read_only {
        let what = if facts.standby { "a standby" } else { "read-only (default_transaction_read_only)" };
        let text = "Name the primary: several hosts and target_session_attrs=read-write in database.url follow a failover.";
        return Finding::bad(check, Status::Fail, format!("{seen}; the server is {what}"), Remedy::new(text));
    }
    if open * 100 > most * CONNECTIONS_WARN {
        let text = "Close connections, put a pooler in front of the application, or raise max_connections and restart the server.";
        let remedy = Remedy::new(text).sql(format!("ALTER SYSTEM SET max_connections = {}", most * 2));
        return Finding::bad(check, Status::Warn, seen, remedy);
    }
    if *round_trip > ROUND_TRIP_WARN {
        let text = "Run workers near the database: each claim and each settle is a round trip.";
        return Finding::bad(check, Status::Warn, seen, Remedy::new(text));
    }
    Finding::ok(check, seen)
}

/// Judges the clocks.
pub fn judge_clock(facts: &SessionFacts) -> Finding {
    let ahead = facts.clock_ahead;
    let far = ahead.abs();
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let seen = format!("the database's clock is {} ms {way} this machine's", far.as_millis());
    let remedy = || {
        let text = "Let NTP set both clocks. Back-offs, ages and retention go by the database's clock, signatures by the worker's.";
        Remedy::new(text).command("timedatectl set-ntp true")
    };
    match far {
        _ if far > CLOCK_FAIL => Finding::bad(Check::Clock, Status::Fail, seen, remedy()),
        _ if far > CLOCK_WARN => Finding::bad(Check::Clock, Status::Warn, seen, remedy()),
        _ => Finding::ok(Check::Clock, seen),
    }
}

/// A connection string, and how safe its connections are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The setting.
    pub setting: &'static str,
    /// Whether it leads to another machine.
    pub remote: bool,
    /// Whether its connections use TLS; `None` if that cannot be told.
    pub encrypted: Option<bool>,
    /// Whether the server's certificate and its name are checked.
    pub verified: bool,
}

/// Judges how safe the connections are.
pub fn judge_tls(links: &[Link]) -> Finding {
    let bad = |link: &&Link| link.remote && !(link.encrypted == Some(true) && link.verified);
    let describe = |link: &Link| {
        let how = match (link.remote, link.encrypted, link.verified) {
            (false, ..) => "leads to this machine",
            (true, Some(false), _) => "leads over a network without TLS",
            (true, None, _) => "leads over a network, perhaps without TLS",
            (true, Some(true), false) => "uses TLS, and does not check who the server is",
            (true, Some(true), true) => "uses TLS, and checks who the server is",
        };
        format!("{} {how}", link.setting)
    };
    let seen = links.iter().map(describe).collect::<Vec<_>>().join("; ");
    if links.iter().any(|link| bad(&link)) {
        let settings = links.iter().filter(bad).map(|link| link.setting).collect::<Vec<_>>().join(" and ");
        let text = format!(
            "Add sslmode=verify-full to {settings}, and sslrootcert or database.ca_file if the authority is your own. On a \
             network that nobody else uses, this may stay."
        );
        return Finding::bad(Check::Tls, Status::Warn, seen, Remedy::new(text));
    }
    Finding::ok(Check::Tls, seen)
}

/// What stands between this process and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolerFacts {
    /// Whether a transaction pooler is configured (`database.listen_url`, `database.pooler`).
    pub configured: bool,
    /// Whether connections to `database.url` share sessions of the server.
    pub url_shares: bool,
    /// The same for direct connections, if they have a URL of their own.
    pub direct_shares: Option<bool>,
    /// Whether both lead to the same database of the same server.
    pub same_database: bool,
}

/// Judges what stands between this process and the server.
pub fn judge_pooler(facts: PoolerFacts) -> Finding {
    let bad = |seen: &str, text: &str| Finding::bad(Check::Pooler, Status::Fail, seen, Remedy::new(text));
    if !facts.same_database {
        return bad(
            "database.url and database.listen_url lead to different databases",
            "Let database.listen_url name the server and the database behind the pooler of database.url.",
        );
    }
    if facts.direct_shares == Some(true) {
        return bad(
            "database.listen_url leads through a transaction pooler: LISTEN and the locks of workers get lost",
            "Let database.listen_url name the server itself.",
        );
    }
    match (facts.url_shares, facts.configured) {
        (true, false) => bad(
            "database.url leads through a transaction pooler, and the settings name none: statements fail now and then",
            "Set database.listen_url to the server itself: then database.pooler is transaction.",
        ),
        (true, true) => {
            Finding::ok(Check::Pooler, "database.url leads through a transaction pooler, as configured")
        }
        (false, true) => Finding::ok(
            Check::Pooler,
            "a transaction pooler is configured; no two connections shared a session now",
        ),
        (false, false) => Finding::ok(Check::Pooler, "no transaction pooler is seen, and none is configured"),
    }
}

/// Judges after how long a notification arrived; `None`: it did not.
pub fn judge_listen(arrived_after: Option<Duration>) -> Finding {
    match arrived_after {
        Some(after) => {
            let milliseconds = after.as_secs_f64() * 1000.0;
            Finding::ok(Check::Listen, format!("a NOTIFY arrived after {milliseconds:.1} ms"))
        }
        None => Finding::bad(
            Check::Listen,
            Status::Fail,
            "a NOTIFY did not arrive: workers find messages only by polling",
            Remedy::new(
                "Let database.listen_url name the server itself: a transaction pooler forgets LISTEN.",
            ),
        ),
    }
}

/// A check that did not answer in time.
pub fn unanswered(check: Check, after: Duration) -> Finding {
    let after = span(SignedDuration::try_from(after).unwrap_or_default());
    Finding::skipped(check, format!("no answer within {after}"), None)
}

/// What keeps a check from being made, in words.
pub fn refused(check: Check, error: &str, right_missing: bool) -> Finding {
    let remedy = right_missing.then(|| {
        let text =
            "Give the role the rights that the check privileges names, or run doctor as the schema's owner.";
        Remedy::new(text).command("pgtopic doctor --check privileges")
    });
    Finding::skipped(check, format!("could not be looked at: {error}"), remedy)
}

/// The finding of a database that is not reached.
pub fn unreachable(error: &str) -> Finding {
    let text = "Check that the server runs, and what database.url and the PG* variables say.";
    let seen = format!("the database cannot be reached: {error}");
    Finding::bad(Check::Connection, Status::Fail, seen, Remedy::new(text)).listing([Item::new(error)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionFacts {
        SessionFacts {
            database: "app".to_owned(),
            role: "worker".to_owned(),
            version: 150_004,
            standby: false,
            read_only: false,
            connections: (90, 100),
            round_trip: Duration::from_millis(20),
            clock_ahead: SignedDuration::from_secs(-1),
        }
    }

    #[test]
    fn a_connection_is_judged_by_version_role_of_the_server_connections_and_round_trip() {
        let status = |facts| judge_connection(&facts).status;
        assert_eq!(status(session()), Status::Ok);
        assert_eq!(status(SessionFacts { version: 139_999, ..session() }), Status::Fail);
        assert_eq!(status(SessionFacts { standby: true, ..session() }), Status::Fail);
        assert_eq!(status(SessionFacts { read_only: true, ..session() }), Status::Fail);
        assert_eq!(status(SessionFacts { connections: (91, 100), ..session() }), Status::Warn);
        assert_eq!(status(SessionFacts { round_trip: Duration::from_millis(21), ..session() }), Status::Warn);
    }

    #[test]
    fn clocks_may_be_a_second_apart() {
        let status = |milliseconds| {
            let clock_ahead = SignedDuration::from_millis(milliseconds);
            judge_clock(&SessionFacts { clock_ahead, ..session() }).status
        };
        for (milliseconds, expected) in
            [(1000, Status::Ok), (1001, Status::Warn), (60_000, Status::Warn), (60_001, Status::Fail)]
        {
            assert_eq!([status(milliseconds), status(-milliseconds)], [expected; 2], "{milliseconds}");
        }
    }

    #[test]
    fn only_a_network_needs_tls_that_checks_the_server() {
        let link =
            |remote, encrypted, verified| Link { setting: "database.url", remote, encrypted, verified };
        let status = |link| judge_tls(&[link]).status;
        assert_eq!(status(link(false, Some(false), false)), Status::Ok);
        assert_eq!(status(link(true, Some(true), true)), Status::Ok);
        for bad in [link(true, Some(true), false), link(true, Some(false), false), link(true, None, true)] {
            assert_eq!(status(bad), Status::Warn);
        }
    }

    #[test]
    fn a_pooler_must_be_configured_and_a_direct_connection_direct() {
        let none =
            PoolerFacts { configured: false, url_shares: false, direct_shares: None, same_database: true };
        let status = |facts| judge_pooler(facts).status;
        assert_eq!(status(none), Status::Ok);
        assert_eq!(status(PoolerFacts { url_shares: true, ..none }), Status::Fail);
        let configured =
            PoolerFacts { configured: true, url_shares: true, direct_shares: Some(false), ..none };
        assert_eq!(status(configured), Status::Ok);
        assert_eq!(status(PoolerFacts { url_shares: false, ..configured }), Status::Ok);
        assert_eq!(status(PoolerFacts { direct_shares: Some(true), ..configured }), Status::Fail);
        assert_eq!(status(PoolerFacts { same_database: false, ..configured }), Status::Fail);
    }

    #[test]
    fn a_notification_must_arrive() {
        assert_eq!(judge_listen(Some(Duration::from_millis(3))).status, Status::Ok);
        assert_eq!(judge_listen(None).status, Status::Fail);
    }
}
