//! Signing certificates (Fulcio's profile of RFC 5280): whom a certificate names, and which build it was issued for.
//!
//! The chain is verified elsewhere. This module reads the same bytes, and refuses what could be read in two ways.

use std::collections::BTreeSet;

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, Utf8StringRef};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

/// The extension that holds the subject's names (RFC 5280, section 4.2.1.6).
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
/// Fulcio's arc of extensions (Fulcio, "OID information"): 1.3.6.1.4.1.57264.1.N.
const FULCIO: &str = "1.3.6.1.4.1.57264.1.";
/// The issuer as raw text, in certificates before 2023 and next to the newer form.
const ISSUER_V1: u32 = 1;
/// The issuer in DER.
const ISSUER_V2: u32 = 8;

/// The largest certificate that is read, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// A certificate's claims about its holder. They are worth something only after its chain was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The key that it was issued for: SHA-256 of its `SubjectPublicKeyInfo`.
    pub key: Sha256Digest,
    /// The start of its validity. Nobody was vouched for before.
    pub not_before: Timestamp,
    /// The end of its validity.
    pub not_after: Timestamp,
    /// The one subject alternative name: an e-mail address or a URI.
    pub identity: String,
    /// Who vouches for the identity: the URL of an `OpenID` Connect issuer.
    pub issuer: String,
    /// The build configuration that signed, with its ref (extension 9).
    pub build_signer_uri: Option<String>,
    /// Where the build ran, such as `github-hosted` (extension 11).
    pub runner_environment: Option<String>,
    /// The source repository (extension 12).
    pub source_repository_uri: Option<String>,
    /// The commit that was built (extension 13).
    pub source_repository_digest: Option<String>,
    /// The ref that was built (extension 14).
    pub source_repository_ref: Option<String>,
    /// The build configuration that the build started with, with its ref (extension 18).
    pub build_config_uri: Option<String>,
}

impl Claims {
    /// Parses a certificate in DER. The error says why it could be read in two ways.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        if der.len() > MAX_BYTES {
            return Err(format!("it has {} bytes", der.len()));
        }
        let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
        // A certificate has one encoding (X.690); otherwise two readers might see two.
        if certificate.to_der().ok().as_deref() != Some(der) {
            return Err("it is not in DER".to_owned());
        }
        let certified = &certificate.tbs_certificate;
        let key = certified.subject_public_key_info.to_der().map_err(|error| error.to_string())?;
        let mut claims = Self {
            key: Sha256Digest::of(&key),
            not_before: timestamp(certified.validity.not_before),
            not_after: timestamp(certified.validity.not_after),
            identity: String::new(),
            issuer: String::new(),
            build_signer_uri: None,
            runner_environment: None,
            source_repository_uri: None,
            source_repository_digest: None,
            source_repository_ref: None,
            build_config_uri: None,
        };
        let mut seen = BTreeSet::new();
        let (mut first_issuer, mut second_issuer) = (None, None);
        for extension in certificate.tbs_certificate.extensions.iter().flatten() {
            if !seen.insert(extension.extn_id) {
                return Err(format!("its extension {} stands twice", extension.extn_id));
            }
            let value = extension.extn_value.as_bytes();
            if extension.extn_id == SUBJECT_ALT_NAME {
                claims.identity = identity(value)?;
                continue;
            }
            let id = extension.extn_id.to_string();
            let Some(number) = id.strip_prefix(FULCIO).and_then(|number| number.parse::<u32>().ok()) else {
                continue;
            };
            let text = || {
                Utf8StringRef::from_der(value)
                    .map(|text| text.to_string())
                    .map_err(|error| format!("its extension {id} is not text: {error}"))
            };
            match number {
                ISSUER_V1 => {
                    let text = std::str::from_utf8(value);
                    first_issuer =
                        Some(text.map_err(|_| format!("its extension {id} is not text"))?.to_owned());
                }
                ISSUER_V2 => second_issuer = Some(text()?),
                9 => claims.build_signer_uri = Some(text()?),
                11 => claims.runner_environment = Some(text()?),
                12 => claims.source_repository_uri = Some(text()?),
                13 => claims.source_repository_digest = Some(text()?),
                14 => claims.source_repository_ref = Some(text()?),
                18 => claims.build_config_uri = Some(text()?),
                _ => {}
            }
        }
        if claims.identity.is_empty() {
            return Err("it names no one".to_owned());
        }
        claims.issuer = match (first_issuer, second_issuer) {
            (Some(first), Some(second)) if first != second => {
                return Err("its two extensions for the issuer contradict each other".to_owned());
            }
            (_, Some(issuer)) | (Some(issuer), None) => issuer,
            (None, None) => return Err("it names no issuer".to_owned()),
        };
        Ok(claims)
    }
}

/// The key in a certificate: its `SubjectPublicKeyInfo` in DER.
pub(crate) fn key_of(der: &[u8]) -> Option<Vec<u8>> {
    Certificate::from_der(der).ok()?.tbs_certificate.subject_public_key_info.to_der().ok()
}

/// A time in a certificate. All times that certificates can express are within a timestamp's range.
pub(crate) fn timestamp(time: Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// The only name in the extension.
fn identity(value: &[u8]) -> Result<String, String> {
    let names =
        SubjectAltName::from_der(value).map_err(|error| format!("its names cannot be read: {error}"))?;
    match names.0.as_slice() {
        // Someone who asks for one kind must not get the other.
        [GeneralName::Rfc822Name(name)] if name.as_str().contains('@') && !has_scheme(name.as_str()) => {
            Ok(name.to_string())
        }
        [GeneralName::UniformResourceIdentifier(name)] if has_scheme(name.as_str()) => Ok(name.to_string()),
        [GeneralName::Rfc822Name(_)] => Err("its e-mail address is none".to_owned()),
        [GeneralName::UniformResourceIdentifier(_)] => Err("its URI has no scheme".to_owned()),
        [_] => Err("its name is neither an e-mail address nor a URI".to_owned()),
        several => Err(format!("it has {} names", several.len())),
    }
}

/// Whether a name starts with a scheme (RFC 3986, section 3.1).
fn has_scheme(name: &str) -> bool {
    let Some((scheme, _)) = name.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_kind() {
        for (name, expected) in [
            ("https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1", true),
            ("spiffe://example.com/builder", true),
            ("urn:x", true),
            ("ann@example.com", false),
            (":x", false),
            ("1a:b", false),
            ("a b:c", false),
        ] {
            assert_eq!(has_scheme(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for bad in [&b""[..], b"\x30\x00", &[0x30; 300], &vec![0; MAX_BYTES + 1]] {
            Claims::read(bad).unwrap_err();
        }
    }
}
