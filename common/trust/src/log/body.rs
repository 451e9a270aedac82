//! The body of a log entry: whether it is about the very signature that it came with.
//!
//! A log vouches only for the body of an entry. An entry about another signature would lend that one's time, and would
//! hide this one from those who monitor the log. The comparison needs no trusted root, so the entries of unknown logs
//! are compared as well.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use serde::Deserialize;
use sigstore_verify::rekor::body::RekorEntryBody;
use sigstore_verify::types::HashAlgorithm;

use crate::bundle::{Content, EntryKind, LogEntry};
use crate::certificate::Claims;
use crate::json::{check_object, printable};
use crate::key::VerificationKey;
use crate::refusal::Refusal;
use crate::step;

/// The maker of a signature.
#[derive(Clone, Copy)]
pub(crate) enum Maker<'a> {
    /// The holder of a key.
    Key(&'a VerificationKey),
    /// The holder of this certificate.
    Certificate(&'a [u8], &'a Claims),
}

/// A signature in the terms of log entries.
#[derive(Clone, Copy)]
pub(crate) struct Logged<'a> {
    pub(crate) content: &'a Content<'a>,
    /// The signed file, if it is one.
    pub(crate) file: Sha256Digest,
    pub(crate) maker: Maker<'a>,
}

#[derive(Deserialize)]
struct Head {
    kind: String,
    #[serde(rename = "apiVersion")]
    version: String,
}

impl Logged<'_> {
    /// Checks that each of the entries is about this signature.
    pub(crate) fn check(&self, entries: &[LogEntry]) -> Result<(), Refusal> {
        entries.iter().try_for_each(|entry| {
            self.check_entry(entry).map_err(|reason| Refusal::unproven(step::LOG_ENTRY, reason))
        })
    }

    fn check_entry(&self, entry: &LogEntry) -> Result<(), String> {
        let malformed = |reason: String| format!("its log entry is malformed: {reason}");
        check_object(&entry.body).map_err(malformed)?;
        let head: Head = serde_json::from_slice(&entry.body).map_err(|error| malformed(error.to_string()))?;
        let (kind, version) = entry.kind.name();
        if head.kind != kind || head.version != version {
            let (own_kind, own_version) = (printable(&head.kind), printable(&head.version));
            return Err(format!(
                "its log entry is {own_kind}/{own_version}, and is presented as {kind}/{version}"
            ));
        }
        self.check_time(entry)?;
        let body = RekorEntryBody::from_json(&entry.body, kind, version);
        match (body.map_err(|error| malformed(error.to_string()))?, self.content) {
            (RekorEntryBody::HashedRekordV001(body), Content::Message { signature, .. }) => {
                let (hash, logged) = (&body.spec.data.hash, &body.spec.signature);
                must_be("file", is_sha256(hash.algorithm, hash.value.as_str(), self.file))?;
                must_be("signature", logged.content.as_bytes() == signature)?;
                self.must_be_by_pem(logged.public_key.content.as_bytes(), false)
            }
            (RekorEntryBody::HashedRekordV002(body), content) => {
                let body = &body.spec.hashed_rekord_v002;
                let (what, digest) = match content {
                    Content::Message { .. } => ("file", self.file),
                    Content::Envelope(envelope) => ("envelope", envelope.signed_digest()),
                };
                let is_same = body.data.algorithm == HashAlgorithm::Sha2256
                    && body.data.digest.as_bytes() == digest.as_bytes();
                must_be(what, is_same)?;
                must_be("signature", body.signature.content.as_bytes() == content.signature())?;
                let verifier = &body.signature.verifier;
                let certificate = verifier.x509_certificate.as_ref().map(|one| one.raw_bytes.as_bytes());
                let key = verifier.public_key.as_ref().map(|one| one.raw_bytes.as_bytes());
                if certificate.is_some() && key.is_some() {
                    return Err("its log entry names two signers".to_owned());
                }
                self.must_be_by(certificate, key, false)
            }
            (RekorEntryBody::DsseV001(body), Content::Envelope(envelope)) => {
                let hash = &body.spec.payload_hash;
                let is_same = hash.algorithm == HashAlgorithm::Sha2256
                    && hash.value == envelope.payload_digest().to_string();
                must_be("payload", is_same)?;
                let [logged] = body.spec.signatures.as_slice() else {
                    return Err(format!("its log entry is about {} signatures", body.spec.signatures.len()));
                };
                must_be("signature", logged.signature.as_bytes() == envelope.signature())?;
                self.must_be_by_pem(logged.verifier.as_bytes(), true)
            }
            (RekorEntryBody::IntotoV002(body), Content::Envelope(envelope)) => {
                let content = &body.spec.content;
                let hash = &content.payload_hash;
                must_be(
                    "payload",
                    is_sha256(hash.algorithm, hash.value.as_str(), envelope.payload_digest()),
                )?;
                must_be("payload type", content.envelope.payload_type == envelope.payload_type())?;
                let [logged] = content.envelope.signatures.as_slice() else {
                    return Err(format!(
                        "its log entry is about {} signatures",
                        content.envelope.signatures.len()
                    ));
                };
                // Such an entry has the signature in base64 twice over.
                let signature =
                    STANDARD.decode(logged.sig.as_bytes()).map_err(|error| malformed(error.to_string()))?;
                must_be("signature", signature == envelope.signature())?;
                self.must_be_by_pem(logged.public_key.as_bytes(), true)
            }
            (_, Content::Message { .. }) => {
                Err(format!("its log entry is of the kind {kind}/{version}, which no signature of a file is"))
            }
            (_, Content::Envelope(_)) => {
                Err(format!("its log entry is of the kind {kind}/{version}, which no envelope is"))
            }
        }
    }

    /// Checks that, by the entry's own time, the log received it while the certificate was valid, whether or not the
    /// log signed that time.
    fn check_time(&self, entry: &LogEntry) -> Result<(), String> {
        let Maker::Certificate(_, claims) = self.maker else { return Ok(()) };
        if entry.kind != EntryKind::HashedRekord || entry.integrated_time == 0 {
            return Ok(());
        }
        let seconds = i64::try_from(entry.integrated_time).ok();
        match seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()) {
            Some(time) if time >= claims.not_before && time <= claims.not_after => Ok(()),
            Some(time) => Err(format!("its log entry is of {time}, when its certificate was not valid")),
            None => Err("the time of its log entry lies out of reach".to_owned()),
        }
    }

    /// Checks that the signature in the log was made by the same party, which the log gives in PEM.
    fn must_be_by_pem(&self, pem: &[u8], is_certificate_enough: bool) -> Result<(), String> {
        let pem = pem::parse(pem).map_err(|error| format!("its log entry is malformed: {error}"))?;
        let of = |label: &str| (pem.tag() == label).then(|| pem.contents());
        self.must_be_by(of("CERTIFICATE"), of("PUBLIC KEY"), is_certificate_enough)
    }

    /// The same for a party that the log gives as a certificate or a key; `is_certificate_enough` says whether a
    /// certificate for a key may replace the key.
    fn must_be_by(
        &self,
        certificate: Option<&[u8]>,
        key: Option<&[u8]>,
        is_certificate_enough: bool,
    ) -> Result<(), String> {
        match self.maker {
            Maker::Certificate(own, _) if certificate == Some(own) => Ok(()),
            Maker::Certificate(..) => {
                Err("its log entry is about a signature with another certificate".to_owned())
            }
            Maker::Key(own) => {
                let certified = || crate::certificate::key_of(certificate.filter(|_| is_certificate_enough)?);
                let is_own = match key {
                    Some(key) => key == own.to_spki_der(),
                    None => certified().is_some_and(|key| key == own.to_spki_der()),
                };
                must_be("key's signature", is_own)
            }
        }
    }
}

fn must_be(what: &str, is_same: bool) -> Result<(), String> {
    if is_same { Ok(()) } else { Err(format!("its log entry is about another {what}")) }
}

fn is_sha256(algorithm: HashAlgorithm, hexadecimal: &str, digest: Sha256Digest) -> bool {
    algorithm == HashAlgorithm::Sha2256 && hexadecimal.eq_ignore_ascii_case(&digest.to_string())
}

#[cfg(test)]
mod tests;
