//! A bundle, and whatever it claims to be signed with: it never counts for a policy that knows nobody.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifeboat_core::Sha256Digest;
use lifeboat_trust::bundle::Bundle;
use lifeboat_trust::judge::{File, judge_file};
use lifeboat_trust::policy::{Policy};

fuzz_target!(|bytes: &[u8]| {
    let _ = Bundle::parse(bytes);
    let file = File { digest: Sha256Digest::of(b""), content: Some(b""), predicate_type: None };
    assert!(judge_file(bytes, file, &Policy::default()).is_err());
});
