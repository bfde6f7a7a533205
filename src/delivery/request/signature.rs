//! Signatures by the Standard Webhooks specification
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! A signature is `v1,` and the base64 of an HMAC-SHA256 over `id.timestamp.body`. `body` is every
//! byte of the request's body. The signature proves who sent the request, that nothing changed on
//! the way, and when it was signed.

use std::fmt;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use sha2::Sha256;

/// The beginning of a secret, by the specification.
const PREFIX: &str = "whsec_";
/// How many bytes a secret may have, by the specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How many bytes a new secret has: as many as the hash yields. More would add no security.
const NEW_SECRET_BYTES: usize = 32;

/// Why a text is not a signing secret. The messages show nothing of the text.
///
/// Receivers read the secret with libraries that know standard base64 with padding only. So other
/// spellings are refused, although this side could read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// What follows `whsec_` is not base64.
    #[error("secret is not base64 after its whsec_ prefix")]
    NotBase64,
    /// What follows `whsec_` is base64 without its padding.
    #[error(
        "secret is base64 without padding: its length must be a multiple of 4, with = at the end to fill it up"
    )]
    Unpadded,
    /// What follows `whsec_` is base64 of the alphabet for URLs.
    #[error(
        "secret is base64 of the alphabet for URLs: write + for - and / for _, with = at the end to fill up a multiple of 4"
    )]
    UrlSafe,
    /// The secret is too short to be safe, or longer than the specification permits.
    #[error("secret has {length} bytes after base64 decoding; it must have 24 to 64")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
}

/// A key that signs requests. Its `Debug` output shows nothing of the key.
#[derive(Clone)]
pub struct SigningKey {
    // The state after the key went in. Each signature begins with a copy of it.
    state: Hmac<Sha256>,
}

impl SigningKey {
    /// The key of a secret. A secret is `whsec_`, which may be left out, and the base64 of 24 to 64
    /// bytes: the standard alphabet, with padding.
    ///
    /// # Errors
    /// [`SecretError`] if the rest is not such base64 or has another length.
    pub fn parse(secret: &str) -> Result<Self, SecretError> {
        let encoded = secret.strip_prefix(PREFIX).unwrap_or(secret);
        let bytes = STANDARD.decode(encoded).map_err(|_| not_base64(encoded))?;
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(SecretError::Length { length: bytes.len() });
        }
        // HMAC accepts keys of any length (RFC 2104), so this never fails.
        let state = Hmac::new_from_slice(&bytes).map_err(|_| SecretError::Length { length: bytes.len() })?;
        Ok(Self { state })
    }

    /// A new secret: `whsec_` and the base64 of 32 random bytes. They come from the thread's
    /// cryptographic generator.
    pub fn generate() -> SecretString {
        let bytes: [u8; NEW_SECRET_BYTES] = rand::random();
        format!("{PREFIX}{}", STANDARD.encode(bytes)).into()
    }

    /// The signature of a request: `v1,<base64>`. `timestamp` is in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut signature = String::with_capacity(SIGNATURE_LENGTH);
        self.append_signature(&mut signature, id, timestamp, body);
        signature
    }

    fn append_signature(&self, signatures: &mut String, id: &str, timestamp: u64, body: &[u8]) {
        let mut state = self.state.clone();
        state.update(id.as_bytes());
        state.update(b".");
        state.update(timestamp.to_string().as_bytes());
        state.update(b".");
        state.update(body);
        signatures.push_str("v1,");
        STANDARD.encode_string(state.finalize().into_bytes(), signatures);
    }
}

/// Why this is not the base64 that a secret must have.
fn not_base64(encoded: &str) -> SecretError {
    if STANDARD_NO_PAD.decode(encoded).is_ok() {
        return SecretError::Unpadded;
    }
    if URL_SAFE.decode(encoded).is_ok() || URL_SAFE_NO_PAD.decode(encoded).is_ok() {
        return SecretError::UrlSafe;
    }
    SecretError::NotBase64
}

/// `v1,` and the base64 of 32 bytes.
const SIGNATURE_LENGTH: usize = 3 + 44;

/// The signatures of several keys, separated by spaces. While a secret is being replaced, the old
/// one signs too.
pub(super) fn sign_with_all(keys: &[SigningKey], id: &str, timestamp: u64, body: &[u8]) -> String {
    let mut signatures = String::with_capacity(keys.len() * (SIGNATURE_LENGTH + 1));
    for key in keys {
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        key.append_signature(&mut signatures, id, timestamp, body);
    }
    signatures
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";

    #[test]
    fn known_answers_of_the_reference_libraries() {
        let key = SigningKey::parse(SECRET).expect("the known secret");
        let signature = key.sign(ID, 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");

        let key = SigningKey::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").expect("the known secret");
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = key.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body);
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn the_prefix_may_be_left_out() {
        let bare = STANDARD.encode([7; 25]);
        let whole = SigningKey::parse(&format!("whsec_{bare}")).expect("a secret");
        let bare = SigningKey::parse(&bare).expect("a secret");
        assert_eq!(bare.sign(ID, 1, b"x"), whole.sign(ID, 1, b"x"));
    }

    #[test]
    fn other_spellings_of_base64_are_refused_with_the_reason() {
        let bytes = [0xfb; 25];
        for (encoded, error) in [
            (STANDARD_NO_PAD.encode(bytes), SecretError::Unpadded),
            (URL_SAFE.encode(bytes), SecretError::UrlSafe),
            (URL_SAFE_NO_PAD.encode(bytes), SecretError::UrlSafe),
            (format!("{} ", STANDARD.encode(bytes)), SecretError::NotBase64),
            (format!("{}\n", STANDARD.encode(bytes)), SecretError::NotBase64),
        ] {
            for secret in [format!("whsec_{encoded}"), encoded.clone()] {
                assert_eq!(SigningKey::parse(&secret).expect_err("refused"), error);
            }
            assert!(!error.to_string().contains(encoded.trim()));
        }
    }

    #[test]
    fn wrong_secrets_are_refused_without_being_shown() {
        for (secret, error) in [
            ("", SecretError::Length { length: 0 }),
            ("whsec_", SecretError::Length { length: 0 }),
            ("whsec_dG9vIHNob3J0", SecretError::Length { length: 9 }),
            (&format!("whsec_{}", STANDARD.encode([1; 23])), SecretError::Length { length: 23 }),
            (&format!("whsec_{}", STANDARD.encode([1; 65])), SecretError::Length { length: 65 }),
            ("whsec_hunter2!", SecretError::NotBase64),
        ] {
            assert_eq!(SigningKey::parse(secret).expect_err(secret), error);
        }
        assert!(!SecretError::NotBase64.to_string().contains("hunter2"));
    }

    #[test]
    fn debug_shows_no_key() {
        let key = SigningKey::parse(SECRET).expect("the known secret");
        assert_eq!(format!("{key:?}"), "SigningKey([redacted])");
    }

    #[test]
    fn a_new_secret_is_a_key_and_never_the_same() {
        let (one, two) = (SigningKey::generate(), SigningKey::generate());
        assert!(one.expose_secret().starts_with("whsec_"));
        assert_ne!(one.expose_secret(), two.expose_secret());
        SigningKey::parse(one.expose_secret()).expect("a new secret is valid");
    }

    #[test]
    fn each_key_signs() {
        let keys: Vec<_> =
            (0..3).map(|n| SigningKey::parse(&STANDARD.encode([n; 24])).expect("a secret")).collect();
        let signatures = sign_with_all(&keys, ID, 5, b"body");
        let expected: Vec<_> = keys.iter().map(|key| key.sign(ID, 5, b"body")).collect();
        assert_eq!(signatures.split(' ').collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn secrets_of_24_to_64_bytes_are_keys(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let key = SigningKey::parse(&format!("whsec_{}", STANDARD.encode(&bytes)));
            prop_assert_eq!(key.is_ok(), (24..=64).contains(&bytes.len()));
        }

        #[test]
        fn signs_exactly_id_timestamp_and_body(
            secret in prop::collection::vec(any::<u8>(), 24..=64), id in "[a-z0-9_]{1,20}", timestamp: u64,
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let key = SigningKey::parse(&STANDARD.encode(&secret)).expect("a secret");
            let mut plain: Hmac<Sha256> = Hmac::new_from_slice(&secret).expect("a key");
            plain.update(&[format!("{id}.{timestamp}.").as_bytes(), &body].concat());
            let expected = format!("v1,{}", STANDARD.encode(plain.finalize().into_bytes()));
            let signature = key.sign(&id, timestamp, &body);
            prop_assert_eq!(&signature, &expected);
            prop_assert_ne!(&signature, &key.sign(&id, timestamp.wrapping_add(1), &body));
        }
    }
}
