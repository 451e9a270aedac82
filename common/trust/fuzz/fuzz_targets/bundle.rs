//! A bundle, and whatever it claims to be signed with: certificates and timestamps that anyone can make are read, and never
//! counts what nobody signed, whoever may sign.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lifeboat_core::Sha256Digest;
use lifeboat_trust::bundle::Bundle;
use lifeboat_trust::evidence::Demands;
use lifeboat_trust::identity::Pattern;
use lifeboat_trust::judge::{File, judge_file};
use lifeboat_trust::policy::{Policy, Signer};

static ANYONE: LazyLock<[Policy; 2]> = LazyLock::new(|| {
    let pattern = || Pattern::regex("identity", "(?s).*").expect("it is one");
    let policy = |log| Policy {
        signers: vec![Signer::Identity { identity: pattern(), issuer: pattern() }],
        demands: Demands { log, certificate_log: log },
        ..Policy::default()
    };
    [policy(true), policy(false)]
});

fuzz_target!(|bytes: &[u8]| {
    let _ = Bundle::parse(bytes);
    let file = File { digest: Sha256Digest::of(b""), content: Some(b""), predicate_type: None };
    for policy in &*ANYONE {
        assert!(judge_file(bytes, file, policy).is_err());
    }
});
