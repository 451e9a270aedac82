//! An envelope, and the statement in it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lifeboat_trust::fuzz::envelope(bytes);
});
