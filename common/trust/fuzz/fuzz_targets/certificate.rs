//! A certificate and its extensions.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lifeboat_trust::fuzz::certificate(bytes);
});
