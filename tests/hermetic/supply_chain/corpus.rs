//! The corpus of the fuzz targets, replayed: nothing in it panics, hangs, or is believed.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lifeboat_core::Sha256Digest;
use lifeboat_trust::bundle::Bundle;
use lifeboat_trust::certificate::Claims;
use lifeboat_trust::dsse::Envelope;
use lifeboat_trust::identity::Pattern;
use lifeboat_trust::judge::{File, judge_file};
use lifeboat_trust::legacy;
use lifeboat_trust::policy::Demands;
use lifeboat_trust::policy::{Policy, Signer};
use lifeboat_trust::statement::Statement;

/// Calls `read` with every file of a target's corpus, and says how many of them it could read.
fn replay(target: &str, read: impl Fn(&[u8]) -> bool) -> (usize, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/trust/fuzz/corpus").join(target);
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let results: Vec<bool> = files.map(|bytes| read(&bytes)).collect();
    (results.iter().filter(|good| **good).count(), results.len())
}

/// A policy that takes anyone's word, with as much evidence as is demanded.
fn anyone(log: bool) -> Policy {
    let pattern = || Pattern::regex("identity", "(?s).*").unwrap();
    Policy {
        signers: vec![Signer::Identity { identity: pattern(), issuer: pattern() }],
        demands: Demands { log, certificate_log: log },
        ..Policy::default()
    }
}

#[test]
fn bundles() {
    let policies = [anyone(true), anyone(false)];
    let (good, all) = replay("bundle", |bytes| {
        let file = File { digest: Sha256Digest::of(b""), content: Some(b""), predicate_type: None };
        for policy in &policies {
            assert!(judge_file(bytes, file, policy).is_err());
        }
        Bundle::parse(bytes).is_ok()
    });
    assert!(good >= 2 && all > good, "{good} of {all}");
}

/// The content and the annotations, as the fuzz target reads them.
#[test]
fn legacy_layers() {
    const NAMES: [&str; 4] = [
        legacy::SIGNATURE,
        "dev.sigstore.cosign/certificate",
        "dev.sigstore.cosign/bundle",
        "dev.sigstore.cosign/rfc3161timestamp",
    ];
    let policy = anyone(false);
    let (with_certificate, all) = replay("legacy", |bytes| {
        let text = std::str::from_utf8(bytes).unwrap();
        let mut lines = text.split('\n');
        let content = lines.next().unwrap_or_default().as_bytes();
        let annotations: BTreeMap<String, String> = NAMES
            .iter()
            .zip(lines)
            .filter(|(_, line)| !line.is_empty())
            .map(|(name, line)| ((*name).to_owned(), line.replace('\t', "\n")))
            .collect();
        let subject = Sha256Digest::of(b"");
        legacy::judge_signature(content, &annotations, subject, &policy).unwrap_err();
        legacy::judge_attestation(content, &annotations, subject, None, &policy).unwrap_err();
        annotations.len() > 2
    });
    assert!(with_certificate >= 3 && all > with_certificate, "{with_certificate} of {all}");
}

#[test]
fn envelopes() {
    let (good, all) = replay("envelope", |bytes| {
        let _ = Statement::parse(bytes);
        let envelope = Envelope::from_json(bytes);
        envelope.is_ok_and(|envelope| Statement::parse(&envelope.payload).is_ok())
    });
    assert!(good >= 1 && all > good, "{good} of {all}");
}

#[test]
fn certificates() {
    let (good, all) = replay("certificate", |bytes| Claims::read(bytes).is_ok());
    assert!(good >= 2 && all > good, "{good} of {all}");
}

#[test]
fn manifests() {
    let (good, all) = replay("manifest", |bytes| lifeboat_registry::check_manifest(bytes).is_ok());
    assert!(good >= 2 && all > good, "{good} of {all}");
}
