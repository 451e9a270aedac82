//! Timestamps (RFC 3161). `sigstore-tsa` verifies a timestamp's signature; this module checks the rest.
//!
//! A token's signed attributes must state what it is and which certificate signed it (RFC 3161, section 2.4.2; RFC
//! 5652, section 11.1; RFC 5816), the authority's certificates must form a path that is good at that time, and the time
//! must not be in the future.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use jiff::Timestamp;
use sigstore_verify::tsa::verify_timestamp_for_authority;
use sigstore_verify::types::{DerCertificate, SignatureBytes, TimestampToken, TsaAuthority};
use x509_cert::Certificate;
use x509_cert::attr::Attribute;
use x509_cert::der::asn1::{Any, AnyRef, GeneralizedTime, ObjectIdentifier};
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use x509_cert::time::Time;

use crate::certificate::timestamp;
use crate::path::{Authority, Facts, Purpose, validate};
use crate::refusal::Refusal;
use crate::signed_time::is_ahead;
use crate::step;

const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// The time at which an authority saw the signature, according to this token.
pub(crate) fn verify(
    token: &[u8],
    signature: &[u8],
    authorities: &[Authority],
    now: Timestamp,
) -> Result<Timestamp, Refusal> {
    let begun = |authority: &&Authority| authority.window.is_none_or(|window| window.start <= now);
    let authorities: Vec<Authority> = authorities.iter().filter(begun).cloned().collect();
    let time = verify_signature(token, signature, &authorities)
        .map_err(|reason| Refusal::unproven(step::TIMESTAMP, reason))?;
    check(token, &authorities, now)?;
    Ok(time)
}

/// Verifies the signature of a token, with each authority's own certificates and window.
fn verify_signature(token: &[u8], signature: &[u8], authorities: &[Authority]) -> Result<Timestamp, String> {
    let (token, signature) = (TimestampToken::from_bytes(token), SignatureBytes::from_bytes(signature));
    let mut reason = None;
    let mut outside = None;
    for authority in authorities {
        let certificate = |der: &Vec<u8>| DerCertificate::new(der.clone());
        let (Some(leaf), Some(root)) = (authority.chain.first(), authority.chain.last()) else { continue };
        let between = authority.chain.len().saturating_sub(1).max(1);
        let between = authority.chain[1..between].iter().map(certificate).collect();
        let known = TsaAuthority::new(certificate(leaf), between, certificate(root), None);
        match verify_timestamp_for_authority(&token, &signature, &known) {
            Ok(time) => {
                let time = Timestamp::from_second(time.as_second()).map_err(|error| error.to_string())?;
                if authority.window.is_none_or(|window| window.contains(time)) {
                    return Ok(time);
                }
                outside = Some(time);
            }
            Err(error) => reason = Some(error.to_string()),
        }
    }
    Err(match (outside, reason) {
        (Some(time), _) => format!("its timestamp is of {time}, when its authority is not believed"),
        (None, Some(reason)) => format!("its timestamp is not verified: {reason}"),
        (None, None) => "the trusted root names no timestamp authority that is believed now".to_owned(),
    })
}

/// Checks a token whose signature was verified.
fn check(token: &[u8], authorities: &[Authority], now: Timestamp) -> Result<(), Refusal> {
    check_token(token, authorities, now).map_err(|reason| {
        Refusal::unproven(step::TIMESTAMP, format!("its timestamp does not count: {reason}"))
    })
}

fn check_token(token: &[u8], authorities: &[Authority], now: Timestamp) -> Result<(), String> {
    let signed = signed_data(token)?;
    let time = time(&signed)?;
    if is_ahead(time, now) {
        return Err(format!("it is of {time}, and now is {now}: check the clock of this machine"));
    }
    let [signer] = signed.signer_infos.0.as_slice() else {
        return Err(format!("it has {} signatures", signed.signer_infos.0.len()));
    };
    let content_type = attribute(signer, CONTENT_TYPE)?.ok_or("it has no signed content type")?;
    let content_type = one_value(content_type)?;
    if ObjectIdentifier::from_der(&content_type) != Ok(TST_INFO) {
        return Err("its signed content type is not that of a timestamp".to_owned());
    }
    let digest = attribute(signer, MESSAGE_DIGEST)?.ok_or("it has no signed digest")?;
    one_value(digest)?;
    // The authorities whose certificate it names. It is already verified that one of them signed it.
    let named: Vec<Authority> =
        authorities.iter().filter(|authority| is_named(signer, authority)).cloned().collect();
    let Some(leaf) = named.first().and_then(|authority| authority.chain.first()) else {
        return Err("it names no certificate of an authority in the trusted root".to_owned());
    };
    check_signing_certificate(signer, leaf)?;
    let issuers: Vec<Authority> = named
        .iter()
        .map(|authority| {
            // A chain with one certificate vouches for itself.
            let chain = if authority.chain.len() == 1 { &authority.chain[..] } else { &authority.chain[1..] };
            Authority { chain: chain.to_vec(), window: authority.window }
        })
        .collect();
    if named.iter().all(|authority| authority.chain.len() == 1) {
        // The trusted root holds only the authority's signing certificate. It is the anchor itself, and there is no
        // path (RFC 5280, section 6.1).
        let window = Facts::read(leaf)?.window;
        return if window.contains(time) {
            Ok(())
        } else {
            Err("its certificate was not valid then".to_owned())
        };
    }
    validate(leaf, &issuers, &[], time, Purpose::TimeStamping).map(drop)
}

/// The signed data in a token, or in an authority's response that contains one (RFC 3161, section 2.4.2).
fn signed_data(token: &[u8]) -> Result<SignedData, String> {
    let malformed = |error: x509_cert::der::Error| format!("it is malformed: {error}");
    let content = if let Ok(content) = ContentInfo::from_der(token) {
        content
    } else {
        let mut answer = SliceReader::new(token).map_err(malformed)?;
        let token = answer
            .sequence(|fields| {
                fields.tlv_bytes()?;
                fields.tlv_bytes()
            })
            .map_err(malformed)?;
        ContentInfo::from_der(token).map_err(malformed)?
    };
    SignedData::from_der(&content.content.to_der().map_err(malformed)?).map_err(malformed)
}

/// The time that the authority states (RFC 3161, section 2.4.2, `genTime`).
fn time(signed: &SignedData) -> Result<Timestamp, String> {
    let malformed = |error: x509_cert::der::Error| format!("it is malformed: {error}");
    let content = signed.encap_content_info.econtent.as_ref().ok_or("it states nothing")?;
    let mut info = SliceReader::new(content.value()).map_err(malformed)?;
    let time = info.sequence(|fields| {
        if u8::decode(fields)? != 1 {
            return Err(Tag::Integer.value_error());
        }
        // Policy, message imprint, serial number.
        for _ in 0..3 {
            fields.tlv_bytes()?;
        }
        let time = GeneralizedTime::decode(fields)?;
        while !fields.is_finished() {
            fields.tlv_bytes()?;
        }
        Ok(time)
    });
    Ok(timestamp(Time::GeneralTime(time.map_err(malformed)?)))
}

/// The signed attribute of this kind. One that occurs twice could be read in two ways.
fn attribute(signer: &SignerInfo, kind: ObjectIdentifier) -> Result<Option<&Attribute>, String> {
    let attributes = signer.signed_attrs.iter().flat_map(|all| all.iter());
    let found: Vec<&Attribute> = attributes.filter(|attribute| attribute.oid == kind).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => Err(format!("its signed attribute {kind} occurs {} times", several.len())),
    }
}

/// The single value of an attribute, in DER.
fn one_value(attribute: &Attribute) -> Result<Vec<u8>, String> {
    let value = attribute.values.get(0).filter(|_| attribute.values.len() == 1);
    let value = value.ok_or_else(|| format!("its signed attribute {} has not one value", attribute.oid))?;
    value.to_der().map_err(|error| error.to_string())
}

/// Whether the signer is the first certificate of the authority's chain.
fn is_named(signer: &SignerInfo, authority: &Authority) -> bool {
    let Some(Ok(leaf)) = authority.chain.first().map(|der| Certificate::from_der(der)) else { return false };
    let leaf = leaf.tbs_certificate;
    match &signer.sid {
        SignerIdentifier::IssuerAndSerialNumber(named) => {
            leaf.issuer == named.issuer && leaf.serial_number == named.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(named) => leaf.extensions.iter().flatten().any(|extension| {
            extension.extn_id == SUBJECT_KEY_IDENTIFIER
                && SubjectKeyIdentifier::from_der(extension.extn_value.as_bytes()).as_ref() == Ok(named)
        }),
    }
}

/// Compares the certificate that the token names with the one that signed (RFC 2634, section 5.4; RFC 5035).
///
/// The digest, or the issuer and the serial number, must match: there are authorities that hash something other than
/// the certificate, and it is already verified that this very certificate made the signature.
fn check_signing_certificate(signer: &SignerInfo, leaf: &[u8]) -> Result<(), String> {
    let newer = attribute(signer, SIGNING_CERTIFICATE_V2)?;
    let attribute = match newer {
        Some(newer) => newer,
        None => {
            attribute(signer, SIGNING_CERTIFICATE)?.ok_or("it does not sign which certificate it is by")?
        }
    };
    let value = one_value(attribute)?;
    let named = Named::read(&value, newer.is_some())
        .map_err(|error| format!("the certificate that it names cannot be read: {error}"))?;
    let algorithm = match named.algorithm {
        None => &SHA1_FOR_LEGACY_USE_ONLY,
        Some(SHA_256) => &SHA256,
        Some(SHA_384) => &SHA384,
        Some(SHA_512) => &SHA512,
        Some(other) => return Err(format!("it names its certificate by the digest {other}")),
    };
    if digest::digest(algorithm, leaf).as_ref() == named.digest || named.is_issued_as(leaf) {
        Ok(())
    } else {
        Err("it was signed for another certificate than the authority's".to_owned())
    }
}

/// An `ESSCertID` or `ESSCertIDv2`.
struct Named {
    /// The certificate's hash algorithm; `None` means SHA-1.
    algorithm: Option<ObjectIdentifier>,
    digest: Vec<u8>,
    /// The names of its issuer and its serial number, in DER, if they are there.
    issued: Option<(Vec<u8>, Vec<u8>)>,
}

impl Named {
    /// The first one in the attribute, which is the signing certificate.
    fn read(value: &[u8], is_v2: bool) -> x509_cert::der::Result<Self> {
        let mut reader = SliceReader::new(value)?;
        reader.sequence(|outer| {
            let certificates = AnyRef::decode(outer)?;
            // Policies that may follow say nothing about the certificate.
            while !outer.is_finished() {
                outer.tlv_bytes()?;
            }
            let mut list = SliceReader::new(certificates.value())?;
            let first = AnyRef::decode(&mut list)?;
            let mut fields = SliceReader::new(first.value())?;
            let mut next = AnyRef::decode(&mut fields)?;
            // SHA-256 is the default of the second version, and is omitted then.
            let mut algorithm = is_v2.then_some(SHA_256);
            if is_v2 && next.tag() == Tag::Sequence {
                let mut identifier = SliceReader::new(next.value())?;
                algorithm = Some(ObjectIdentifier::decode(&mut identifier)?);
                next = AnyRef::decode(&mut fields)?;
            }
            next.tag().assert_eq(Tag::OctetString)?;
            let mut issued = None;
            if !fields.is_finished() {
                let issuer_serial = AnyRef::decode(&mut fields)?;
                let mut both = SliceReader::new(issuer_serial.value())?;
                issued = Some((both.tlv_bytes()?.to_vec(), both.tlv_bytes()?.to_vec()));
            }
            Ok(Self { algorithm, digest: next.value().to_vec(), issued })
        })
    }

    /// Whether issuer and serial number are those of this certificate.
    fn is_issued_as(&self, leaf: &[u8]) -> bool {
        let (Some((names, serial)), Ok(leaf)) = (&self.issued, Certificate::from_der(leaf)) else {
            return false;
        };
        let own = |leaf: &Certificate| {
            let issuer = leaf.tbs_certificate.issuer.to_der().ok()?;
            // `GeneralNames` of one directory name.
            let name =
                Any::new(Tag::ContextSpecific { constructed: true, number: TagNumber::N4 }, issuer).ok()?;
            let names = Any::new(Tag::Sequence, name.to_der().ok()?).ok()?.to_der().ok()?;
            Some((names, leaf.tbs_certificate.serial_number.to_der().ok()?))
        };
        own(&leaf).is_some_and(|own| own == (names.clone(), serial.clone()))
    }
}

#[cfg(test)]
mod tests;
