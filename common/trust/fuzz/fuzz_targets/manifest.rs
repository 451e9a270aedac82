//! A manifest or index of a registry.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = lifeboat_registry::check_manifest(bytes);
});
