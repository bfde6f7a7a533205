//! What to do about a server's certificate that was refused.

use rustls::{CertificateError, Error as TlsError};

/// What to do about a certificate that was refused; empty for other errors.
pub(super) fn remedy(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = io.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref::<TlsError>());
        match tls {
            // The other kind is a self-signed certificate that calls itself an authority.
            Some(TlsError::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            )) => {
                return "; nobody who is trusted has signed it: give sslrootcert (or database.ca_file) the file of the authority that has";
            }
            Some(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {
                return "; the certificate is for another host (its subjectAltName counts): connect to that name, or use sslmode=verify-ca";
            }
            Some(TlsError::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => return "; the certificate has expired: renew it on the server",
            _ => {}
        }
        cause = error.source();
    }
    ""
}
