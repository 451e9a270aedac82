//! Certification paths (RFC 5280, section 6.1), anchors included.
//!
//! `webpki` finds the path and makes the checks of section 6.1.3: signatures, names, validity periods, the CA bit,
//! extended key usages, name constraints, unknown critical extensions. It does not check anchors, and ignores key
//! usages. This module therefore checks each path again as a whole: a trusted root gives its anchors as certificates,
//! and the limits in such a certificate hold.
//!
//! Not processed, and therefore refused: `policyConstraints`, and name constraints on forms that `webpki` does not
//! compare (URIs, e-mail addresses, directory names) if such a name occurs.

use std::cell::RefCell;
use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use sigstore_verify::crypto::WEBPKI_VERIFICATION_ALGS;
use webpki::{EndEntityCert, KeyUsage as Usage, VerifiedPath, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use crate::certificate::timestamp;

const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const POLICY_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.36");

static CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
static TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

/// The critical extensions of an anchor that are processed: key usage, subject alternative name, basic constraints,
/// name constraints, extended key usage.
const PROCESSED: [ObjectIdentifier; 5] = [
    KEY_USAGE,
    ObjectIdentifier::new_unwrap("2.5.29.17"),
    BASIC_CONSTRAINTS,
    ObjectIdentifier::new_unwrap("2.5.29.30"),
    EXTENDED_KEY_USAGE,
];

/// The purpose that a certificate must be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Signing files, images and statements (`id-kp-codeSigning`).
    CodeSigning,
    /// Signing timestamps (`id-kp-timeStamping`).
    TimeStamping,
}

impl Purpose {
    fn oid(self) -> &'static ObjectIdentifier {
        match self {
            Self::CodeSigning => &CODE_SIGNING,
            Self::TimeStamping => &TIME_STAMPING,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::CodeSigning => "code signing",
            Self::TimeStamping => "time stamping",
        }
    }
}

/// A period of validity, including both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: Timestamp,
    pub(crate) end: Option<Timestamp>,
}

impl Window {
    pub(crate) fn contains(&self, time: Timestamp) -> bool {
        self.start <= time && self.end.is_none_or(|end| time <= end)
    }
}

/// An authority of a trusted root.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    /// Its certificates in DER, each issued by the next. The last one is the anchor.
    pub(crate) chain: Vec<Vec<u8>>,
    /// When it is trusted.
    pub(crate) window: Option<Window>,
}

/// Checks that one of `authorities` vouches for `leaf` for `purpose` at `time`. Returns the certificate that issued it.
///
/// `brought` are the certificates that came with the evidence. They are trusted only as far as the path proves them,
/// and considered only for an authority of which the trusted root has nothing but the root certificate.
pub(crate) fn validate(
    leaf: &[u8],
    authorities: &[Authority],
    brought: &[Vec<u8>],
    time: Timestamp,
    purpose: Purpose,
) -> Result<Vec<u8>, String> {
    let mut reason = None;
    for authority in authorities {
        match validate_under(leaf, authority, brought, time, purpose) {
            Ok(issuer) => return Ok(issuer),
            // The reason why a path fails says more than the absence of a path.
            Err(Unproven { is_path: true, reason: found }) => reason = Some(found),
            Err(Unproven { reason: found, .. }) => {
                reason.get_or_insert(found);
            }
        }
    }
    Err(reason.unwrap_or_else(|| "the trusted root names no such authority".to_owned()))
}

/// Why an authority does not vouch for a certificate.
struct Unproven {
    /// Whether there is a path to the authority, but a bad one.
    is_path: bool,
    reason: String,
}

fn validate_under(
    leaf: &[u8],
    authority: &Authority,
    brought: &[Vec<u8>],
    time: Timestamp,
    purpose: Purpose,
) -> Result<Vec<u8>, Unproven> {
    let none = |reason: String| Unproven { is_path: false, reason };
    if authority.window.is_some_and(|window| !window.contains(time)) {
        return Err(none(format!("no authority that issued it is believed at {time}")));
    }
    let Some((anchor, own)) = authority.chain.split_last() else {
        return Err(none("an authority without certificates vouches for nothing".to_owned()));
    };
    let anchor_der = CertificateDer::from(anchor.as_slice());
    let anchors = [anchor_from_trusted_cert(&anchor_der).map_err(|error| none(error.to_string()))?];
    let is_root = || Facts::read(anchor).is_ok_and(|facts| facts.is_self_issued);
    let brought = if own.is_empty() && is_root() { brought } else { &[] };
    // A certificate that cannot be parsed issues nothing, and must not get in the way of those that can.
    let between = own.iter().chain(brought).filter(|der| is_read(der));
    let between: Vec<_> = between.map(|der| CertificateDer::from(der.as_slice())).collect();
    let leaf_der = CertificateDer::from(leaf);
    let end = EndEntityCert::try_from(&leaf_der).map_err(|error| none(error.to_string()))?;
    let seconds = u64::try_from(time.as_second()).map_err(|_| none(format!("{time} lies before 1970")))?;
    let (refused, issuer) = (RefCell::new(None), RefCell::new(Vec::new()));
    let look = |path: &VerifiedPath<'_>| {
        let between = path.intermediate_certificates().map(|one| one.der().to_vec());
        let whole: Vec<Vec<u8>> =
            std::iter::once(leaf.to_vec()).chain(between).chain([anchor.clone()]).collect();
        check_path(&whole, time, purpose).map_err(|reason| {
            refused.replace(Some(reason));
            webpki::Error::UnknownIssuer
        })?;
        issuer.replace(whole[1].clone());
        Ok(())
    };
    let algorithms: &[&dyn SignatureVerificationAlgorithm] = WEBPKI_VERIFICATION_ALGS;
    // The signer's own usage is checked below: an authority without this extension may issue for any purpose.
    let usage = Usage::required_if_present(purpose.oid().as_bytes());
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let found = end.verify_for_usage(algorithms, &anchors, &between, now, usage, None, Some(&look));
    let Err(error) = found.map(drop) else { return Ok(issuer.take()) };
    if let Some(reason) = refused.take() {
        Err(Unproven { is_path: true, reason })
    } else {
        let is_path = error != webpki::Error::UnknownIssuer;
        Err(Unproven { is_path, reason: format!("no path leads from it to the authority: {error}") })
    }
}

/// Whether a certificate can be part of a path at all.
pub(crate) fn is_read(der: &[u8]) -> bool {
    EndEntityCert::try_from(&CertificateDer::from(der)).is_ok()
}

/// Checks that the holder of the key in `issuer` signed the certificate, and that the names fit (RFC 5280, 6.1.3 (a)(1)
/// and (a)(4)).
pub(crate) fn is_issued_by(der: &[u8], issuer: &[u8]) -> Result<(), String> {
    let read = |der: &[u8]| Certificate::from_der(der).map_err(|error| error.to_string());
    let (certificate, issuer) = (read(der)?, read(issuer)?);
    if certificate.tbs_certificate.issuer != issuer.tbs_certificate.subject {
        return Err(format!("it names `{}` as its issuer", certificate.tbs_certificate.issuer));
    }
    let encoded = |error: x509_cert::der::Error| error.to_string();
    let signed = certificate.tbs_certificate.to_der().map_err(encoded)?;
    let algorithm = certificate.signature_algorithm.to_der().map_err(encoded)?;
    let key = issuer.tbs_certificate.subject_public_key_info;
    let key_algorithm = key.algorithm.to_der().map_err(encoded)?;
    let signature = certificate.signature.as_bytes().ok_or("its signature is malformed")?;
    let key = key.subject_public_key.as_bytes().ok_or("its issuer's key is malformed")?;
    let contents = |der: &[u8]| AnyRef::from_der(der).map(|any| any.value().to_vec()).map_err(encoded);
    let (algorithm, key_algorithm) = (contents(&algorithm)?, contents(&key_algorithm)?);
    let fits = WEBPKI_VERIFICATION_ALGS.iter().filter(|one| {
        one.signature_alg_id().as_ref() == algorithm && one.public_key_alg_id().as_ref() == key_algorithm
    });
    let mut reason = "its signature is of a kind that is not read";
    for one in fits {
        if one.verify_signature(key, &signed, signature).is_ok() {
            return Ok(());
        }
        reason = "its signature is wrong";
    }
    Err(reason.to_owned())
}

/// How many certificates of authorities may follow in a path, where there is a limit (RFC 5280, section 4.2.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathLength(pub(crate) Option<u8>);

/// A certificate, with everything that affects a path.
pub(crate) struct Facts {
    /// Its subject, in the usual text form.
    pub(crate) subject: String,
    /// Whether its issuer is its subject (RFC 5280, section 6.1).
    pub(crate) is_self_issued: bool,
    /// Its period of validity.
    pub(crate) window: Window,
    /// Whether it may issue certificates at all (`basicConstraints`), and how many may follow below those.
    pub(crate) ca: Option<PathLength>,
    /// Whether it may sign certificates, if it lists its usages (`keyUsage`).
    pub(crate) signs_certificates: Option<bool>,
    /// Whether it may sign anything else, likewise.
    pub(crate) signs_data: Option<bool>,
    usages: Option<Vec<ObjectIdentifier>>,
    unprocessed: Option<ObjectIdentifier>,
    has_policy_constraints: bool,
}

/// Parses a certificate in DER.
fn certificate(der: &[u8]) -> Result<Certificate, String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    if certificate.to_der().ok().as_deref() != Some(der) {
        return Err("it is not in DER".to_owned());
    }
    Ok(certificate)
}

/// Checks that this has the form of an authority's certificate: version 3, with the same algorithm in both of its
/// places (RFC 5280, sections 4.1.1.2 and 4.1.2.1).
pub(crate) fn check_form(der: &[u8]) -> Result<(), String> {
    let certificate = certificate(der)?;
    if certificate.tbs_certificate.version != Version::V3 {
        return Err("it is not of version 3".to_owned());
    }
    if certificate.tbs_certificate.signature != certificate.signature_algorithm {
        return Err("it names two algorithms for its signature".to_owned());
    }
    Ok(())
}

impl Facts {
    pub(crate) fn read(der: &[u8]) -> Result<Self, String> {
        let certificate = certificate(der)?;
        let certified = &certificate.tbs_certificate;
        let mut facts = Self {
            subject: certified.subject.to_string(),
            is_self_issued: certified.subject == certified.issuer,
            window: Window {
                start: timestamp(certified.validity.not_before),
                end: Some(timestamp(certified.validity.not_after)),
            },
            ca: None,
            signs_certificates: None,
            signs_data: None,
            usages: None,
            unprocessed: None,
            has_policy_constraints: false,
        };
        if certified.version != Version::V3 {
            return Ok(facts);
        }
        let extensions = certified.extensions.as_deref().unwrap_or_default();
        for (place, extension) in extensions.iter().enumerate() {
            let oid = extension.extn_id;
            if extensions[..place].iter().any(|other| other.extn_id == oid) {
                return Err(format!("its extension {oid} occurs twice"));
            }
            let value = extension.extn_value.as_bytes();
            let malformed =
                |error: x509_cert::der::Error| format!("its extension {oid} is malformed: {error}");
            if oid == BASIC_CONSTRAINTS {
                let basic = BasicConstraints::from_der(value).map_err(malformed)?;
                facts.ca = basic.ca.then_some(PathLength(basic.path_len_constraint));
            } else if oid == KEY_USAGE {
                let usage = KeyUsage::from_der(value).map_err(malformed)?;
                facts.signs_certificates = Some(usage.key_cert_sign());
                facts.signs_data = Some(usage.digital_signature());
            } else if oid == EXTENDED_KEY_USAGE {
                facts.usages = Some(ExtendedKeyUsage::from_der(value).map_err(malformed)?.0);
            } else if oid == POLICY_CONSTRAINTS {
                facts.has_policy_constraints = true;
            }
            if extension.critical && !PROCESSED.contains(&oid) {
                facts.unprocessed = Some(oid);
            }
        }
        Ok(facts)
    }

    /// Checks that it may issue certificates for `purpose`.
    pub(crate) fn issues(&self, purpose: Purpose) -> Result<(), String> {
        if self.ca.is_none() {
            return Err("is not a certificate authority (basicConstraints)".to_owned());
        }
        if self.signs_certificates == Some(false) {
            return Err("may not sign certificates (keyUsage lacks keyCertSign)".to_owned());
        }
        if self.usages.as_ref().is_some_and(|usages| !usages.contains(purpose.oid())) {
            return Err(format!("is not for {} (extendedKeyUsage)", purpose.name()));
        }
        Ok(())
    }
}

/// Checks a path whose signatures are good: the leaf first, the anchor last.
///
/// The letters are those of RFC 5280, sections 6.1.3 and 6.1.4.
fn check_path(path: &[Vec<u8>], time: Timestamp, purpose: Purpose) -> Result<(), String> {
    let mut facts = Vec::new();
    for der in path {
        facts.push(
            Facts::read(der).map_err(|reason| format!("a certificate of its path is malformed: {reason}"))?,
        );
    }
    let Some((leaf, issuers)) = facts.split_first() else { return Err("it has no path".to_owned()) };
    if leaf.signs_data == Some(false) {
        return Err("it may not sign data (keyUsage lacks digitalSignature)".to_owned());
    }
    // Section 4.2.1.12: a signer must declare what its key is for.
    if !leaf.usages.as_ref().is_some_and(|usages| usages.contains(purpose.oid())) {
        return Err(format!("it is not for {} (extendedKeyUsage)", purpose.name()));
    }
    // Certificates below an issuer that count towards its path length: all but self-issued ones, and not the leaf.
    let mut below = 0_usize;
    for issuer in issuers {
        let refused =
            |reason: String| Err(format!("the certificate of `{}` in its path {reason}", issuer.subject));
        // 6.1.3 (a)(2)
        if !issuer.window.contains(time) {
            let end = issuer.window.end.unwrap_or(Timestamp::MAX);
            return refused(format!("is valid from {} to {end}, not at {time}", issuer.window.start));
        }
        // 6.1.4 (k), (n), and section 4.2.1.12 for the whole path.
        if let Err(reason) = issuer.issues(purpose) {
            return refused(reason);
        }
        // 6.1.4 (l), (m)
        if let Some(PathLength(Some(most))) = issuer.ca
            && below > usize::from(most)
        {
            return refused(format!("allows {most} certificate authorities below it, and there are {below}"));
        }
        // 6.1.4 (i), which needs the policies of the whole path.
        if issuer.has_policy_constraints {
            return refused(
                "demands certificate policies (policyConstraints), which are not processed".to_owned(),
            );
        }
        // 6.1.4 (o)
        if let Some(oid) = issuer.unprocessed {
            return refused(format!("has the critical extension {oid}, which is not processed"));
        }
        below += usize::from(!issuer.is_self_issued);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
