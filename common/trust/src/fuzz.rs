//! The functions that this crate's fuzz targets call, one for each kind of bytes from outside.
//!
//! Every function returns whether its bytes were accepted, and panics if the result is wrong: evidence that nobody
//! signed must not count, no matter who may sign and how little is demanded.
//!
//! None of this is in the product: it is built for tests, and for the fuzz targets by the feature `fuzz`.

#![expect(clippy::missing_panics_doc, reason = "a panic is what these functions are there to find")]

#[cfg(test)]
mod replay;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use lifeboat_core::Sha256Digest;

use crate::bundle::Bundle;
use crate::certificate::Claims;
use crate::dsse::Envelope;
use crate::identity::Pattern;
use crate::judge::{File, judge_file, judge_legacy_attestation, judge_legacy_signature};
use crate::legacy;
use crate::policy::{Demands, Policy, Signer};
use crate::statement::Statement;

/// Policies that trust anyone: one that demands all evidence, and one that demands none.
static ANYONE: LazyLock<[Policy; 2]> = LazyLock::new(|| {
    let pattern = || Pattern::regex("identity", "(?s).*").expect("it is one");
    let policy = |log| Policy {
        signers: vec![Signer::Identity { identity: pattern(), issuer: pattern() }],
        demands: Demands { log, certificate_log: log },
        ..Policy::default()
    };
    [policy(true), policy(false)]
});

/// The annotations of a legacy layer, in the order of the lines that hold them.
const LEGACY_ANNOTATIONS: [&str; 4] =
    [legacy::SIGNATURE, legacy::CERTIFICATE, legacy::LOG_BUNDLE, legacy::TIMESTAMP];

/// A bundle, with whatever it claims to be signed with: certificates and timestamps that anyone can make are parsed.
pub fn bundle(bytes: &[u8]) -> bool {
    let file = File { digest: Sha256Digest::of(b""), content: Some(b""), predicate_type: None };
    for policy in &*ANYONE {
        assert!(judge_file(bytes, file, policy).is_err());
    }
    Bundle::parse(bytes).is_ok()
}

/// A certificate and its extensions.
pub fn certificate(bytes: &[u8]) -> bool {
    let claims = Claims::read(bytes);
    if let Ok(claims) = &claims {
        assert!(!claims.identity.is_empty());
    }
    claims.is_ok()
}

/// An envelope, and the statement in it.
pub fn envelope(bytes: &[u8]) -> bool {
    let _ = Statement::parse(bytes);
    Envelope::from_json(bytes).is_ok_and(|envelope| {
        assert_eq!(Envelope::from_json(&envelope.to_json()).expect("what was written is read"), envelope);
        Statement::parse(&envelope.payload).is_ok()
    })
}

/// A layer under a legacy tag: its content, and its annotations, one per line: signature, certificate, the log's
/// answer, timestamp. Newlines of a certificate are written as tabs. It counts as accepted if it has more than a key's
/// signature.
pub fn legacy(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.split('\n');
    let content = lines.next().unwrap_or_default().as_bytes();
    let annotations: BTreeMap<String, String> = LEGACY_ANNOTATIONS
        .iter()
        .zip(lines)
        .filter(|(_, line)| !line.is_empty())
        .map(|(name, line)| ((*name).to_owned(), line.replace('\t', "\n")))
        .collect();
    let subject = Sha256Digest::of(b"");
    let [_, policy] = &*ANYONE;
    assert!(judge_legacy_signature(content, &annotations, subject, policy).is_err());
    assert!(judge_legacy_attestation(content, &annotations, subject, None, policy).is_err());
    annotations.len() > 2
}
