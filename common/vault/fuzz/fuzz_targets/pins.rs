//! The file of what this machine has seen.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lifeboat_vault::fuzz::pins(bytes);
});
