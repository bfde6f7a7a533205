//! Every keyword that libpq knows, and what pgtopic does with it.

use crate::domain::spelling;

/// A keyword of libpq.
#[derive(Debug)]
pub(super) struct Keyword {
    /// As it is written: `sslmode`.
    pub(super) name: &'static str,
    /// The environment variable that stands for it: `PGSSLMODE`.
    pub(super) variable: Option<&'static str>,
    /// What is done with it.
    pub(super) handling: Handling,
}

/// What is done with a keyword.
#[derive(Debug)]
pub(super) enum Handling {
    /// It is followed.
    Used,
    /// It may be given, and changes nothing here.
    Ignored,
    /// It may have only one of these values, which mean what pgtopic does anyway. The text says
    /// what to do otherwise.
    Only(&'static [&'static str], &'static str),
    /// It is refused. The text says what to do instead.
    Refused(&'static str),
}

use Handling::{Ignored, Only, Refused, Used};

const fn keyword(name: &'static str, variable: &'static str, handling: Handling) -> Keyword {
    Keyword { name, variable: Some(variable), handling }
}

const fn unnamed(name: &'static str, handling: Handling) -> Keyword {
    Keyword { name, variable: None, handling }
}

/// All keywords of libpq 18. Others are unknown.
pub(super) const KEYWORDS: &[Keyword] = &[
    keyword("host", "PGHOST", Used),
    keyword("hostaddr", "PGHOSTADDR", Used),
    keyword("port", "PGPORT", Used),
    keyword("dbname", "PGDATABASE", Used),
    keyword("user", "PGUSER", Used),
    keyword("password", "PGPASSWORD", Used),
    keyword("passfile", "PGPASSFILE", Used),
    keyword("connect_timeout", "PGCONNECT_TIMEOUT", Used),
    keyword("application_name", "PGAPPNAME", Used),
    unnamed("fallback_application_name", Used),
    keyword("options", "PGOPTIONS", Used),
    unnamed("keepalives", Used),
    unnamed("keepalives_idle", Used),
    unnamed("keepalives_interval", Used),
    unnamed("keepalives_count", Used),
    unnamed("tcp_user_timeout", Used),
    keyword("target_session_attrs", "PGTARGETSESSIONATTRS", Used),
    keyword("load_balance_hosts", "PGLOADBALANCEHOSTS", Used),
    keyword("sslmode", "PGSSLMODE", Used),
    keyword("sslnegotiation", "PGSSLNEGOTIATION", Used),
    keyword("sslrootcert", "PGSSLROOTCERT", Used),
    keyword("sslcert", "PGSSLCERT", Used),
    keyword("sslkey", "PGSSLKEY", Used),
    keyword("sslcertmode", "PGSSLCERTMODE", Used),
    keyword("sslsni", "PGSSLSNI", Used),
    keyword("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Used),
    keyword("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Used),
    keyword("channel_binding", "PGCHANNELBINDING", Used),
    keyword(
        "client_encoding",
        "PGCLIENTENCODING",
        Only(&["auto", "utf8", "utf-8", "unicode"], "pgtopic speaks UTF8 alone; leave it out"),
    ),
    keyword(
        "gssencmode",
        "PGGSSENCMODE",
        Only(
            &["disable", "prefer"],
            "GSSAPI encryption is not there; use gssencmode=disable with sslmode=verify-full",
        ),
    ),
    unnamed("replication", Only(&["false", "off", "no", "0"], "leave it out")),
    // What they are for is not there, so they change nothing.
    keyword("sslcompression", "PGSSLCOMPRESSION", Ignored),
    keyword("krbsrvname", "PGKRBSRVNAME", Ignored),
    keyword("gsslib", "PGGSSLIB", Ignored),
    keyword("gssdelegation", "PGGSSDELEGATION", Ignored),
    keyword(
        "min_protocol_version",
        "PGMINPROTOCOLVERSION",
        Only(&["3.0"], "pgtopic speaks protocol 3.0; leave it out"),
    ),
    keyword("max_protocol_version", "PGMAXPROTOCOLVERSION", Ignored),
    keyword(
        "service",
        "PGSERVICE",
        Refused("service files are not read; write what the service holds into the URL"),
    ),
    // Alone it means nothing.
    keyword("servicefile", "PGSERVICEFILE", Ignored),
    unnamed(
        "sslpassword",
        Refused(
            "keys with a passphrase are not read; take it off with: openssl pkey -in client.key -out plain.key",
        ),
    ),
    keyword(
        "sslcrl",
        "PGSSLCRL",
        Refused("revocation lists are not read; give sslrootcert a CA that signs servers you trust"),
    ),
    keyword(
        "sslcrldir",
        "PGSSLCRLDIR",
        Refused("revocation lists are not read; give sslrootcert a CA that signs servers you trust"),
    ),
    keyword(
        "requirepeer",
        "PGREQUIREPEER",
        Refused("the server's account is not checked; use TCP with sslmode=verify-full"),
    ),
    keyword(
        "require_auth",
        "PGREQUIREAUTH",
        Refused(
            "the way of authentication cannot be demanded; use sslmode=verify-full, or channel_binding=require",
        ),
    ),
    keyword("requiressl", "PGREQUIRESSL", Refused("it is obsolete; use sslmode=require")),
    unnamed("sslkeylogfile", Refused("keys of sessions are not logged; leave it out")),
    unnamed("scram_client_key", Refused("give password instead")),
    unnamed("scram_server_key", Refused("give password instead")),
    unnamed("oauth_issuer", Refused("OAuth is not there; give password or sslcert instead")),
    unnamed("oauth_client_id", Refused("OAuth is not there; give password or sslcert instead")),
    unnamed("oauth_client_secret", Refused("OAuth is not there; give password or sslcert instead")),
    unnamed("oauth_scope", Refused("OAuth is not there; give password or sslcert instead")),
];

/// The keyword of this name.
pub(super) fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

/// The keyword that somebody may have meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    spelling::nearest(name, KEYWORDS.iter().map(|keyword| keyword.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_recognised() {
        assert_eq!(nearest("ssl_mode"), Some("sslmode"));
        assert_eq!(nearest("sslmod"), Some("sslmode"));
        assert_eq!(nearest("databse"), None);
        assert_eq!(nearest("dbnam"), Some("dbname"));
    }

    #[test]
    fn each_keyword_stands_there_once() {
        let names: std::collections::BTreeSet<_> = KEYWORDS.iter().map(|keyword| keyword.name).collect();
        assert_eq!(names.len(), KEYWORDS.len());
    }
}
