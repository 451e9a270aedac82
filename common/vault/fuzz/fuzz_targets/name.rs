//! The name of an object.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lifeboat_vault::fuzz::name(bytes);
});
