//! What requests over TLS trust, and why a certificate was not accepted, in words.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, InvalidMessage, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, UnixTime,
        pem::{self, PemObject as _},
    },
};
use rustls_platform_verifier::Verifier;

/// How many of a certificate's names an error shows.
const NAMES_SHOWN: usize = 3;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsSettingsError {
    /// The file of authorities cannot be read, or is not PEM.
    #[error("delivery.ca_file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file of authorities holds no certificate.
    #[error("delivery.ca_file {}: it holds no certificate (no line -----BEGIN CERTIFICATE-----)", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate in the file of authorities cannot be used.
    #[error("delivery.ca_file {}: certificate {number} cannot be used: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Which certificate in the file, from 1.
        number: usize,
        /// Why.
        reason: rustls::Error,
    },
    /// TLS itself.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// The certificates of a PEM file. There is at least one, and each of them can be trusted.
fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSettingsError> {
    let unreadable = |error: pem::Error| TlsSettingsError::Unreadable {
        path: path.to_owned(),
        reason: match error {
            pem::Error::Io(error) => error.to_string(),
            error => error.to_string(),
        },
    };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(TlsSettingsError::NoCertificate { path: path.to_owned() });
    }
    for (at, certificate) in certificates.iter().enumerate() {
        let unusable = |reason| TlsSettingsError::Unusable { path: path.to_owned(), number: at + 1, reason };
        RootCertStore::empty().add(certificate.clone()).map_err(unusable)?;
    }
    Ok(certificates)
}

/// Checks that a file of authorities can be used (`delivery.ca_file`).
///
/// # Errors
/// [`TlsSettingsError`] with the reason.
pub fn check_ca_file(path: &Path) -> Result<(), TlsSettingsError> {
    read_authorities(path).map(drop)
}

/// TLS settings that verify certificates as the platform does. They trust the platform's
/// authorities, and those of the file if there is one.
pub(super) fn tls_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsSettingsError> {
    let authorities = ca_file.map(read_authorities).transpose()?.unwrap_or_default();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    match Verifier::new_with_extra_roots(authorities, provider) {
        Ok(verifier) => {
            Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
        }
        // Minimal containers have no trust store. Webhooks over http still work there, and https
        // fails, as it must.
        Err(error) => {
            tracing::warn!(
                %error,
                "no trusted certificates found: https webhooks will fail; install ca-certificates or set delivery.ca_file"
            );
            Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
        }
    }
}

/// Why a TLS connection failed: what an operator must know to repair it.
#[derive(Debug, thiserror::Error)]
pub(in crate::delivery) enum TlsError {
    /// The receiver answered the handshake with something other than TLS.
    #[error("the receiver does not speak TLS at this port: perhaps its URL should start with http://")]
    NotTls,
    /// The connection ended, or nothing came. A receiver without TLS may do that too.
    #[error("no TLS connection: {0} (a receiver that does not speak TLS may behave like this too)")]
    NoAnswer(io::Error),
    /// The receiver's certificate is not accepted.
    #[error("the receiver's certificate {0}")]
    Certificate(String),
    /// The receiver demands a certificate.
    #[error("the receiver demands a client certificate, and pgtopic has none")]
    ClientCertificate,
    /// Something else.
    #[error("no TLS connection: {0}")]
    Other(io::Error),
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match rustls {
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::NotTls,
            Some(rustls::Error::InvalidCertificate(reason)) => Self::Certificate(in_words(reason)),
            Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                Self::ClientCertificate
            }
            None if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::UnexpectedEof) => {
                Self::NoAnswer(error)
            }
            _ => Self::Other(error),
        }
    }
}

/// Why a certificate is not accepted. It is read after "the receiver's certificate".
fn in_words(reason: &CertificateError) -> String {
    match reason {
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => format!("expired at {}", instant(*not_after)),
        CertificateError::NotValidYet => "is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}", instant(*not_before))
        }
        CertificateError::NotValidForName => "is for another name than the URL's".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("is for {}, not for {}", names(presented), expected.to_str())
        }
        CertificateError::UnknownIssuer => {
            "comes from an authority that is not trusted here: delivery.ca_file can name the authority"
                .to_owned()
        }
        CertificateError::Revoked => "was revoked".to_owned(),
        // A certificate that `openssl req -x509` makes says so of itself.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "is that of an authority (CA:TRUE), and a receiver needs one that the authority has signed"
                .to_owned()
        }
        other => format!("is not accepted: {other}"),
    }
}

fn instant(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "an unknown time".to_owned(), |time| time.to_string())
}

/// The names of a certificate. The library writes each as `DnsName("example.com")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        inside.trim_matches('"').to_owned()
    };
    if presented.is_empty() {
        return "no name".to_owned();
    }
    let shown: Vec<_> = presented.iter().take(NAMES_SHOWN).map(bare).collect();
    let more = if presented.len() > NAMES_SHOWN { " and more" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn of_file(text: &str) -> Result<ClientConfig, TlsSettingsError> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        tls_config(Some(file.path()))
    }

    #[test]
    fn a_file_without_a_usable_certificate_is_an_error_that_names_the_setting_and_the_reason() {
        let begin = "-----BEGIN CERTIFICATE-----\n";
        for (text, reason) in [
            (String::new(), "it holds no certificate"),
            ("some text\n".to_owned(), "it holds no certificate"),
            (include_str!("../test_certificates/receiver.key").to_owned(), "it holds no certificate"),
            (begin.to_owned(), ""),
            (format!("{begin}!!!\n-----END CERTIFICATE-----\n"), ""),
            (format!("{begin}aGVsbG8=\n-----END CERTIFICATE-----\n"), "certificate 1 cannot be used"),
        ] {
            let error = of_file(&text).expect_err("not usable").to_string();
            assert!(error.starts_with("delivery.ca_file /") && error.contains(reason), "{reason}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let error = tls_config(Some(Path::new("/nowhere/ca.pem"))).expect_err("not there").to_string();
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_file_of_authorities_is_used() {
        let authority = include_str!("../test_certificates/authority.pem");
        of_file(authority).expect("one");
        of_file(&format!("a comment\n{authority}\n{authority}")).expect("two");
    }

    #[test]
    fn names_are_shown_as_people_write_them() {
        assert_eq!(names(&[]), "no name");
        let presented = ["DnsName(\"a.example\")", "IpAddress(127.0.0.1)", "odd", "b"].map(str::to_owned);
        assert_eq!(names(&presented), "a.example, 127.0.0.1, odd and more");
    }
}
