//! The steps of a verification, each with the section of the specification that requires it.

use serde::Serialize;

/// A step that was taken, or that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// The specification that requires it.
    pub specification: &'static str,
}

impl Step {
    const fn new(name: &'static str, specification: &'static str) -> Self {
        Self { name, specification }
    }
}

/// The bundle is parsed.
pub const FORMAT: Step =
    Step::new("format", "Sigstore client specification, section 5: Serialization and Wire Format");
/// A legacy signature is parsed.
pub const LEGACY_FORMAT: Step =
    Step::new("format", "Cosign signature specification, section Payloads: Simple Signing");
/// An authority's timestamp is verified.
pub const TIMESTAMP: Step =
    Step::new("timestamp", "Sigstore client specification, section 4.2.1: Timestamping Service; RFC 3161");
/// A log's promise, which contains a time, is verified.
pub const LOG_TIME: Step =
    Step::new("log time", "Sigstore client specification, section 4.2.2: Transparency Service Timestamp");
/// The certificate's chain is verified at the time of the signature.
pub const CERTIFICATE: Step =
    Step::new("certificate", "Sigstore client specification, section 4.3: Certificate; RFC 5280, section 6");
/// The certificate was logged.
pub const CERTIFICATE_LOG: Step = Step::new(
    "certificate log",
    "Sigstore client specification, section 4.3: Certificate; RFC 6962, section 3.2",
);
/// The certificate names a trusted signer.
pub const IDENTITY: Step = Step::new("identity", "Sigstore client specification, section 4.3: Certificate");
/// The entry is in the log, whose checkpoint is signed.
pub const INCLUSION: Step = Step::new(
    "log inclusion",
    "Sigstore client specification, section 4.4: Transparency Log Entry; RFC 6962, section 2.1.1",
);
/// The log promised to include the entry. This does not show whether it did.
pub const PROMISE: Step = Step::new(
    "log promise",
    "Sigstore client specification, section 4.4: Transparency Log Entry; Rekor, signed entry timestamp",
);
/// The log entry is about this signature.
pub const LOG_ENTRY: Step =
    Step::new("log entry", "Sigstore client specification, section 4.4: Transparency Log Entry");
/// Enough witnesses signed the entry's checkpoint.
pub const WITNESSES: Step =
    Step::new("witnesses", "C2SP Transparency Log Cosignatures 1.0: Ed25519 signed message; --witness");
/// The signature is verified.
pub const SIGNATURE: Step =
    Step::new("signature", "Sigstore client specification, section 4.5: Signature Verification");
/// The signature of an envelope is verified.
pub const ENVELOPE: Step = Step::new(
    "signature",
    "Sigstore client specification, section 4.5: Signature Verification; DSSE protocol 1.0.2",
);
/// The payload is a statement.
pub const STATEMENT: Step = Step::new("statement", "in-toto Attestation Framework 1.0: Statement");
/// The statement is about the subject in question.
pub const SUBJECT: Step = Step::new("subject", "in-toto Attestation Framework 1.0: Statement, subject");
/// The legacy payload is about the image in question.
pub const LEGACY_SUBJECT: Step =
    Step::new("subject", "Cosign signature specification, section Payloads: docker-manifest-digest");
/// The statement is of the kind in question.
pub const PREDICATE_TYPE: Step =
    Step::new("predicate type", "in-toto Attestation Framework 1.0: Statement, predicateType");
/// The statement has the annotations that the caller requires.
pub const ANNOTATIONS: Step = Step::new("annotations", "policy of the caller: --annotation");
/// The signature is not older than the caller allows.
pub const MINIMUM_TIME: Step = Step::new("minimum time", "policy of the caller: --min-time");
/// Fields that say the same thing twice agree.
pub const CONSISTENCY: Step =
    Step::new("consistency", "Sigstore client specification, section 4.4; redundant fields must agree");
/// The builder is the one that the caller trusts.
pub const BUILDER: Step =
    Step::new("builder", "SLSA 1.0, Verifying artifacts, step 1: Check SLSA Build level");
/// The expectations about source and parameters hold.
pub const EXPECTATIONS: Step =
    Step::new("expectations", "SLSA 1.0, Verifying artifacts, step 2: Check expectations");
