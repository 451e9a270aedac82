//! The outer form of signed objects, and their compression.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lifeboat_vault::fuzz::signed_object(bytes);
});
