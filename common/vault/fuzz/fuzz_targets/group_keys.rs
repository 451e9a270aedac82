//! What is wrapped of a group's keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lifeboat_vault::fuzz::group_keys(bytes);
});
