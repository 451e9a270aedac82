//! A layer under a legacy tag: its content, and its annotations, one a line: signature, certificate, what a log answered,
//! timestamp. Line feeds of a certificate are written as tabs.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lifeboat_core::Sha256Digest;
use lifeboat_trust::evidence::Demands;
use lifeboat_trust::identity::Pattern;
use lifeboat_trust::legacy;
use lifeboat_trust::policy::{Policy, Signer};

static ANYONE: LazyLock<Policy> = LazyLock::new(|| {
    let pattern = || Pattern::regex("identity", "(?s).*").expect("it is one");
    Policy {
        signers: vec![Signer::Identity { identity: pattern(), issuer: pattern() }],
        demands: Demands { log: false, certificate_log: false },
        ..Policy::default()
    }
});

const NAMES: [&str; 4] = [
    legacy::SIGNATURE,
    "dev.sigstore.cosign/certificate",
    "dev.sigstore.cosign/bundle",
    "dev.sigstore.cosign/rfc3161timestamp",
];

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let content = lines.next().unwrap_or_default().as_bytes();
    let annotations: BTreeMap<String, String> = NAMES
        .iter()
        .zip(lines)
        .filter(|(_, line)| !line.is_empty())
        .map(|(name, line)| ((*name).to_owned(), line.replace('\t', "\n")))
        .collect();
    let subject = Sha256Digest::of(b"");
    assert!(legacy::judge_signature(content, &annotations, subject, &ANYONE).is_err());
    assert!(legacy::judge_attestation(content, &annotations, subject, None, &ANYONE).is_err());
});
