//! A certificate and its extensions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifeboat_trust::certificate::Claims;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(claims) = Claims::read(bytes) {
        assert!(!claims.identity.is_empty());
    }
});
