//! Certificate transparency logs (RFC 6962): whether one promised to include a certificate.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use sigstore_verify::crypto::{Keyring, SigningScheme};
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Sha256Hash, SignatureBytes};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode as _, Encode as _};

use crate::path::Window;
use crate::refusal::Refusal;
use crate::step;
use crate::trusted_root::wire;

/// The extension that holds the promises of logs (RFC 6962, section 3.3).
const PROMISES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

/// The signature schemes of logs, by their numbers (RFC 5246, section 7.4.1.4.1).
const SCHEMES: [([u8; 2], SigningScheme); 5] = [
    ([4, 3], SigningScheme::EcdsaP256Sha256),
    ([5, 3], SigningScheme::EcdsaP384Sha384),
    ([4, 1], SigningScheme::RsaPkcs1Sha256),
    ([5, 1], SigningScheme::RsaPkcs1Sha384),
    ([6, 1], SigningScheme::RsaPkcs1Sha512),
];

/// The logs of a trusted root.
pub(crate) struct CertificateLogs {
    /// Their keys, by signature scheme.
    keys: Vec<Keyring>,
    /// The windows in which they are trusted.
    windows: BTreeMap<Sha256Digest, Option<Window>>,
}

/// A log's promise to include a certificate (RFC 6962, section 3.2, `SignedCertificateTimestamp`).
struct Promise<'a> {
    log: [u8; 32],
    /// In milliseconds since 1970.
    time: u64,
    extensions: &'a [u8],
    algorithm: [u8; 2],
    signature: &'a [u8],
}

impl CertificateLogs {
    /// The logs of `root`, which the library parsed into `parsed`.
    pub(crate) fn read(root: &wire::Root, parsed: &TrustedRoot) -> Result<Self, String> {
        let keys = SCHEMES.map(|(_, scheme)| parsed.ctfe_keys(scheme));
        let keys = keys.into_iter().collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let mut windows = BTreeMap::new();
        for log in &root.ctlogs {
            let window = wire::window(log.public_key.valid_for.as_ref())?;
            // The library also accepts other forms of base64.
            wire::decode("the key of a log", &log.public_key.raw_bytes)?;
            windows.insert(wire::log_id(&log.log_id)?, window);
        }
        Ok(Self { keys, windows })
    }

    /// Checks that a log of the trusted root promised to include `certificate`, issued by the holder of `issuer`.
    pub(crate) fn check(&self, certificate: &[u8], issuer: &[u8]) -> Result<(), Refusal> {
        self.check_promise(certificate, issuer)
            .map_err(|reason| Refusal::unproven(step::CERTIFICATE_LOG, format!("its certificate {reason}")))
    }

    fn check_promise(&self, certificate: &[u8], issuer: &[u8]) -> Result<(), String> {
        let read = |der| Certificate::from_der(der).map_err(|error| format!("is malformed: {error}"));
        let (certificate, issuer) = (read(certificate)?.tbs_certificate, read(issuer)?.tbs_certificate);
        let extensions = certificate.extensions.as_deref().unwrap_or_default();
        let extension = extensions.iter().find(|extension| extension.extn_id == PROMISES);
        let extension = extension.ok_or("bears no signed certificate timestamp")?;
        let malformed = || "bears a malformed signed certificate timestamp".to_owned();
        let list = OctetStringRef::from_der(extension.extn_value.as_bytes()).map_err(|_| malformed())?;
        let promise = Promise::only(list.as_bytes()).ok_or_else(malformed)?;
        let place = SCHEMES.iter().position(|(algorithm, _)| *algorithm == promise.algorithm);
        let keys = place.and_then(|place| self.keys.get(place)).ok_or_else(malformed)?;
        let milliseconds = i64::try_from(promise.time).map_err(|_| malformed())?;
        let time = Timestamp::from_millisecond(milliseconds).map_err(|_| malformed())?;
        let encoded = |error: x509_cert::der::Error| format!("is malformed: {error}");
        let key = issuer.subject_public_key_info.to_der().map_err(encoded)?;
        let mut unlogged = certificate.clone();
        let others = extensions.iter().filter(|extension| extension.extn_id != PROMISES);
        unlogged.extensions = Some(others.cloned().collect());
        let signed = promise.signed(&Sha256Digest::of(&key), &unlogged.to_der().map_err(encoded)?);
        let log = Sha256Digest::from_bytes(promise.log);
        let window = self.windows.get(&log).filter(|_| keys.key(&Sha256Hash::new(promise.log)).is_some());
        match window {
            None => {
                return Err("bears a signed certificate timestamp of a log that is not known".to_owned());
            }
            Some(Some(window)) if !window.contains(time) => {
                return Err(format!(
                    "bears a signed certificate timestamp of {time}, when its log is not believed"
                ));
            }
            Some(_) => {}
        }
        keys.verify_with_key_id(
            &Sha256Hash::new(promise.log),
            signed,
            &SignatureBytes::from_bytes(promise.signature),
        )
        .map_err(|_| "bears a signed certificate timestamp that its log did not make".to_owned())
    }
}

/// Consumes this many bytes.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// Consumes a vector prefixed by its length in two bytes (RFC 5246, section 4.3).
fn take_vector<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(take(bytes, 2)?.try_into().ok()?);
    take(bytes, usize::from(length))
}

impl<'a> Promise<'a> {
    /// The only promise in a list.
    fn only(mut list: &'a [u8]) -> Option<Self> {
        let mut promises = take_vector(&mut list)?;
        let mut promise = take_vector(&mut promises)?;
        if !list.is_empty() || !promises.is_empty() || take(&mut promise, 1)? != [0] {
            return None;
        }
        let found = Self {
            log: take(&mut promise, 32)?.try_into().ok()?,
            time: u64::from_be_bytes(take(&mut promise, 8)?.try_into().ok()?),
            extensions: take_vector(&mut promise)?,
            algorithm: take(&mut promise, 2)?.try_into().ok()?,
            signature: take_vector(&mut promise)?,
        };
        promise.is_empty().then_some(found)
    }

    /// The bytes that the log signed: the certificate without the promise, and the key that issued it
    /// (`digitally-signed` for a `precert_entry`).
    fn signed(&self, issuer_key: &Sha256Digest, certificate: &[u8]) -> Vec<u8> {
        let length = u32::try_from(certificate.len()).unwrap_or(u32::MAX).to_be_bytes();
        let extensions =
            u16::try_from(self.extensions.len()).expect("it was read from two bytes").to_be_bytes();
        [
            // Version 1, `certificate_timestamp`.
            &[0, 0][..],
            &self.time.to_be_bytes(),
            // `precert_entry`.
            &[0, 1],
            issuer_key.as_bytes(),
            &length[1..],
            certificate,
            &extensions,
            self.extensions,
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_one_promise_and_nothing_else() {
        let promise = [&[0][..], &[7; 32], &[0; 8], &[0, 0], &[4, 3], &[0, 1, 9]].concat();
        let vector = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        let list =
            |promises: &[&[u8]]| vector(&promises.iter().flat_map(|one| vector(one)).collect::<Vec<_>>());
        let good = list(&[&promise]);
        let found = Promise::only(&good).unwrap();
        assert_eq!((found.log, found.algorithm, found.signature), ([7; 32], [4, 3], &[9][..]));
        let other_version = [&[1], &promise[1..]].concat();
        let longer = [&promise[..], &[0]].concat();
        for bad in [
            list(&[]),
            list(&[&promise, &promise]),
            list(&[&other_version]),
            list(&[&longer]),
            list(&[&promise[..20]]),
            [&good[..], &[0]].concat(),
            Vec::new(),
        ] {
            assert!(Promise::only(&bad).is_none(), "{bad:?}");
        }
    }
}
