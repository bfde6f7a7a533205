//! TLS with the database: what is trusted, and how a server's certificate is checked.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};

use super::{
    conninfo::tls::{Check, Roots, Tls},
    error::StoreError,
};

/// The settings of TLS for a connection string.
///
/// # Errors
/// [`StoreError::Tls`]: a file cannot be read, or holds nothing that can be used.
pub(super) fn client_config(tls: &Tls) -> Result<ClientConfig, StoreError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: Vec<_> = [
        tls.versions.tls12.then_some(&rustls::version::TLS12),
        tls.versions.tls13.then_some(&rustls::version::TLS13),
    ]
    .into_iter()
    .flatten()
    .collect();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| StoreError::Tls(error.to_string()))?;
    let verifier = Verifier::new(&tls.check, &provider)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate, "sslcert")?;
            let key = private_key(key)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| StoreError::Tls(format!("sslcert and sslkey: {error}")))?
        }
    };
    config.enable_sni = tls.sni;
    if tls.direct {
        // The server demands it, so that nothing else can take the connection for its own.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

/// Checks the server's certificate as `sslmode` says.
#[derive(Debug)]
enum Verifier {
    /// Accepts every certificate. Then nothing proves who the server is, so signatures are not
    /// checked either.
    Nothing(Vec<SignatureScheme>),
    Signer {
        chain: Arc<WebPkiServerVerifier>,
        /// The certificates of the file. A server may present one of them itself.
        pinned: Vec<CertificateDer<'static>>,
        /// Whether the certificate must be for the host's name, too.
        name: bool,
    },
}

impl Verifier {
    fn new(check: &Check, provider: &Arc<CryptoProvider>) -> Result<Self, StoreError> {
        let (roots, name) = match check {
            Check::Nothing => {
                let schemes = provider.signature_verification_algorithms.supported_schemes();
                return Ok(Self::Nothing(schemes));
            }
            Check::Signer(roots) => (roots, false),
            Check::SignerAndName(roots) => (roots, true),
        };
        let (file, key, system) = match roots {
            Roots::System => (None, "", true),
            Roots::File(file) => (Some(file), "sslrootcert", false),
            Roots::FileAndSystem(file) => (Some(file), "database.ca_file", true),
        };
        let mut store = RootCertStore::empty();
        let mut pinned = Vec::new();
        if let Some(file) = file {
            pinned = certificates(file, key)?;
            for certificate in &pinned {
                store
                    .add(certificate.clone())
                    .map_err(|error| StoreError::Tls(format!("{key} {}: {error}", file.display())))?;
            }
        }
        if system {
            // One that cannot be read makes nothing trusted that is not.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if store.is_empty() {
            return Err(StoreError::Tls(
                "the system has no trusted authorities: install ca-certificates, or give sslrootcert a file"
                    .to_owned(),
            ));
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
            .build()
            .map_err(|error| StoreError::Tls(error.to_string()))?;
        Ok(Self::Signer { chain, pinned, name })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Self::Signer { chain, pinned, name } = self else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is checked last, after the signer.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !name => Ok(ServerCertVerified::assertion()),
            // A self-signed certificate that calls itself an authority is refused as a server's,
            // unless it is the very one that is trusted. Its time was checked before that.
            Err(TlsError::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer,
            )) if pinned.iter().any(|known| known == end_entity) => {
                if *name {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        match self {
            Self::Nothing(_) => Ok(HandshakeSignatureValid::assertion()),
            Self::Signer { chain, .. } => chain.verify_tls12_signature(message, certificate, signed),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        match self {
            Self::Nothing(_) => Ok(HandshakeSignatureValid::assertion()),
            Self::Signer { chain, .. } => chain.verify_tls13_signature(message, certificate, signed),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::Nothing(schemes) => schemes.clone(),
            Self::Signer { chain, .. } => chain.supported_verify_schemes(),
        }
    }
}

/// The certificates of a PEM file; at least one. `key` is the setting that names the file.
fn certificates(file: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let wrong = |why: &str| StoreError::Tls(format!("{key} {}: {why}", file.display()));
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(&error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("holds no certificate (a PEM block that begins with -----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

/// The key of the client's certificate. Like libpq, it refuses a key that others may read.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, StoreError> {
    use std::os::unix::fs::MetadataExt as _;
    let wrong = |why: &str| StoreError::Tls(format!("sslkey {}: {why}", file.display()));
    let found = std::fs::metadata(file).map_err(|error| wrong(&error.to_string()))?;
    // A key that root owns may be read by a group.
    let hidden = if found.uid() == 0 { 0o037 } else { 0o077 };
    if found.mode() & hidden != 0 {
        return Err(wrong(&format!("others may read it; run: chmod 600 {}", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error.to_string()))?;
    if text.contains("ENCRYPTED") {
        return Err(wrong(
            "it has a passphrase; take it off with: openssl pkey -in client.key -out plain.key",
        ));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| wrong(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::store::conninfo::tls::{SslMode, Versions};

    fn tls(check: Check, client: Option<(std::path::PathBuf, std::path::PathBuf)>) -> Tls {
        let versions = Versions { tls12: true, tls13: true };
        Tls { mode: SslMode::Require, check, client, sni: true, direct: false, versions }
    }

    fn said(tls: &Tls) -> String {
        client_config(tls).expect_err("it cannot be used").to_string()
    }

    #[test]
    fn a_file_without_a_certificate_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        for (text, says) in [("", "holds no certificate"), ("hello", "holds no certificate")] {
            file.write_all(text.as_bytes()).unwrap();
            let ours = said(&tls(Check::SignerAndName(Roots::FileAndSystem(path.clone())), None));
            assert!(ours.contains(says) && ours.contains("database.ca_file"), "{ours}");
            let theirs = said(&tls(Check::Signer(Roots::File(path.clone())), None));
            assert!(theirs.contains(says) && theirs.contains("sslrootcert"), "{theirs}");
        }
        let missing = said(&tls(Check::Signer(Roots::File("/nowhere/at/all".into())), None));
        assert!(missing.contains("/nowhere/at/all"), "{missing}");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            private_key(file.path()).expect_err("no key").to_string()
        };
        assert!(read(0o644).contains("chmod 600"));
        assert!(!read(0o600).contains("chmod"));
    }
}
