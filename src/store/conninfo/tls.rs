//! What a connection string says of TLS, with libpq's meaning.

use std::path::{Path, PathBuf};

use super::{error::ConninfoError, values::Settings};

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SslMode {
    /// Never TLS.
    Disable,
    /// Plain first, and TLS if the server refuses that.
    Allow,
    /// TLS first, and plain if that fails.
    Prefer,
    /// TLS.
    Require,
    /// TLS, with a certificate that a trusted authority has signed.
    VerifyCa,
    /// The same, and the certificate must be for the host's name.
    VerifyFull,
}

/// What is trusted to sign the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The system's authorities.
    System,
    /// Those of a file (`sslrootcert`), and no others.
    File(PathBuf),
    /// Those of a file (`database.ca_file`), beside the system's.
    FileAndSystem(PathBuf),
}

/// What is checked of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing: only listeners are kept out.
    Nothing,
    /// Who has signed it.
    Signer(Roots),
    /// That, and that it is for the host's name.
    SignerAndName(Roots),
}

/// How one try to connect uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// It does not.
    None,
    /// If the server offers it.
    IfOffered,
    /// The server must offer it.
    Needed,
}

/// What a connection string says of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) mode: SslMode,
    pub(crate) check: Check,
    /// The client's certificate and its key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    /// Whether the host's name is sent in the clear (SNI).
    pub(crate) sni: bool,
    /// Whether TLS begins without asking (`sslnegotiation=direct`, PostgreSQL 17 and later).
    pub(crate) direct: bool,
    pub(crate) versions: Versions,
}

impl Tls {
    /// For Unix sockets, where PostgreSQL does no TLS.
    pub(super) const NONE: Self = Self {
        mode: SslMode::Disable,
        check: Check::Nothing,
        client: None,
        sni: true,
        direct: false,
        versions: Versions { tls12: true, tls13: true },
    };
}

/// Which versions of TLS may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) tls12: bool,
    pub(crate) tls13: bool,
}

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

impl SslMode {
    /// The tries on one host, in order. The next one is made if TLS, or the lack of it, was the
    /// reason why the last one failed.
    pub(crate) fn tries(self) -> &'static [Encryption] {
        match self {
            Self::Disable => &[Encryption::None],
            Self::Allow => &[Encryption::None, Encryption::Needed],
            Self::Prefer => &[Encryption::IfOffered, Encryption::None],
            Self::Require | Self::VerifyCa | Self::VerifyFull => &[Encryption::Needed],
        }
    }

    fn word(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(word, _)| word)
    }
}

/// Reads what the settings say of TLS. `ca_file` is `database.ca_file`.
pub(super) fn read(settings: &Settings<'_>, ca_file: Option<&Path>) -> Result<Tls, ConninfoError> {
    let mode = settings.word(
        "sslmode",
        &MODES,
        "must be disable, allow, prefer, require, verify-ca or verify-full",
    )?;
    let root = settings.get("sslrootcert").map(|value| value.text.as_str());
    let usual = settings.home_file("root.crt");
    let (mode, check) = check(mode, root, ca_file, usual.as_deref())?;
    let direct = settings
        .word("sslnegotiation", &[("postgres", false), ("direct", true)], "must be postgres or direct")?
        .unwrap_or(false);
    if direct && mode < SslMode::Require {
        return Err(ConninfoError::Together(format!(
            "sslnegotiation=direct needs sslmode=require or stricter, not {}",
            mode.word()
        )));
    }
    Ok(Tls {
        mode,
        check,
        client: client(settings)?,
        sni: settings.word("sslsni", &[("1", true), ("0", false)], "must be 1 or 0")?.unwrap_or(true),
        direct,
        versions: versions(settings)?,
    })
}

/// What is checked. `given` is `sslmode`, `root` is `sslrootcert`, `usual` is `root.crt` in the
/// user's directory, if it is there.
fn check(
    given: Option<SslMode>,
    root: Option<&str>,
    ca_file: Option<&Path>,
    usual: Option<&Path>,
) -> Result<(SslMode, Check), ConninfoError> {
    if root == Some("system") {
        return match given {
            None | Some(SslMode::VerifyFull) => {
                Ok((SslMode::VerifyFull, Check::SignerAndName(Roots::System)))
            }
            Some(mode) => Err(ConninfoError::Together(format!(
                "sslrootcert=system needs sslmode=verify-full, not {}: any site can get a certificate that the system trusts",
                mode.word()
            ))),
        };
    }
    let roots = match (root, ca_file, usual) {
        (Some(file), ..) => Some(Roots::File(file.into())),
        (None, Some(file), _) => Some(Roots::FileAndSystem(file.to_owned())),
        (None, None, Some(file)) => Some(Roots::File(file.to_owned())),
        (None, None, None) => None,
    };
    // Whoever names authorities for this product alone wants them to be checked.
    let unsaid = if root.is_none() && ca_file.is_some() { SslMode::VerifyFull } else { SslMode::Prefer };
    let mode = given.unwrap_or(unsaid);
    let check = match (mode, roots) {
        (SslMode::VerifyFull, roots) => Check::SignerAndName(roots.unwrap_or(Roots::System)),
        (SslMode::VerifyCa, None) => {
            return Err(ConninfoError::Together(
                "sslmode=verify-ca needs sslrootcert, the file of the authority that has signed the server's \
                 certificate; or use sslmode=verify-full"
                    .to_owned(),
            ));
        }
        // As libpq does it: an authority that is there is asked.
        (_, Some(roots)) => Check::Signer(roots),
        (_, None) => Check::Nothing,
    };
    Ok((mode, check))
}

/// The client's certificate and key: those that are named, or those in the user's directory.
fn client(settings: &Settings<'_>) -> Result<Option<(PathBuf, PathBuf)>, ConninfoError> {
    const RULE: &str = "must be disable or allow; a server that wants a certificate asks for it";
    let used = settings.word("sslcertmode", &[("disable", false), ("allow", true)], RULE)?.unwrap_or(true);
    let file = |keyword, usual| {
        settings.get(keyword).map(|value| PathBuf::from(&value.text)).or_else(|| settings.home_file(usual))
    };
    if !used {
        return Ok(None);
    }
    match (file("sslcert", "postgresql.crt"), file("sslkey", "postgresql.key")) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (Some(_), None) => {
            Err(ConninfoError::Together("sslcert needs sslkey, the file of its key".to_owned()))
        }
        (None, _) => Ok(None),
    }
}

fn versions(settings: &Settings<'_>) -> Result<Versions, ConninfoError> {
    const WORDS: [(&str, u8); 4] = [("TLSv1", 10), ("TLSv1.1", 11), ("TLSv1.2", 12), ("TLSv1.3", 13)];
    const RULE: &str = "must be TLSv1.2 or TLSv1.3";
    let least = settings.word("ssl_min_protocol_version", &WORDS, RULE)?.unwrap_or(12);
    let most = settings.word("ssl_max_protocol_version", &WORDS, RULE)?.unwrap_or(13);
    let versions = Versions { tls12: least <= 12 && most >= 12, tls13: least <= 13 && most >= 13 };
    if !versions.tls12 && !versions.tls13 {
        return Err(ConninfoError::Together(
            "ssl_min_protocol_version and ssl_max_protocol_version leave none of TLSv1.2 and TLSv1.3"
                .to_owned(),
        ));
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};

    use super::*;

    fn file(name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    #[test]
    fn nothing_is_verified_unless_a_root_is_given() {
        for mode in [Disable, Allow, Prefer, Require] {
            assert_eq!(check(Some(mode), None, None, None), Ok((mode, Check::Nothing)));
            let signer = Ok((mode, Check::Signer(Roots::File(file("ca")))));
            assert_eq!(check(Some(mode), Some("ca"), None, Some(Path::new("usual"))), signer);
            let signer = Ok((mode, Check::Signer(Roots::File(file("usual")))));
            assert_eq!(check(Some(mode), None, None, Some(Path::new("usual"))), signer);
        }
        assert_eq!(check(None, None, None, None), Ok((Prefer, Check::Nothing)));
        assert_eq!(check(None, Some("ca"), None, None), Ok((Prefer, Check::Signer(Roots::File(file("ca"))))));
    }

    #[test]
    fn verify_modes_verify() {
        let roots = || Roots::File(file("ca"));
        assert_eq!(check(Some(VerifyCa), Some("ca"), None, None), Ok((VerifyCa, Check::Signer(roots()))));
        assert_eq!(
            check(Some(VerifyFull), Some("ca"), None, None),
            Ok((VerifyFull, Check::SignerAndName(roots())))
        );
        let system = Ok((VerifyFull, Check::SignerAndName(Roots::System)));
        assert_eq!(check(Some(VerifyFull), None, None, None), system);
        assert_eq!(check(None, Some("system"), None, None), system);
        assert!(check(Some(VerifyCa), None, None, None).is_err());
        for mode in [Disable, Allow, Prefer, Require, VerifyCa] {
            assert!(check(Some(mode), Some("system"), None, None).is_err(), "{mode:?}");
        }
    }

    #[test]
    fn the_settings_file_of_authorities_makes_verify_full_the_default() {
        let roots = || Roots::FileAndSystem(file("ours"));
        let ours = Some(Path::new("ours"));
        assert_eq!(check(None, None, ours, None), Ok((VerifyFull, Check::SignerAndName(roots()))));
        assert_eq!(check(Some(Require), None, ours, None), Ok((Require, Check::Signer(roots()))));
        assert_eq!(check(None, Some("ca"), ours, None), Ok((Prefer, Check::Signer(Roots::File(file("ca"))))));
    }

    #[test]
    fn only_prefer_and_allow_try_twice() {
        assert_eq!(Prefer.tries(), [Encryption::IfOffered, Encryption::None]);
        assert_eq!(Allow.tries(), [Encryption::None, Encryption::Needed]);
        for mode in [Require, VerifyCa, VerifyFull] {
            assert_eq!(mode.tries(), [Encryption::Needed]);
        }
        assert_eq!(Disable.tries(), [Encryption::None]);
    }
}
