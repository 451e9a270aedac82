//! An archive that holds an image.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lifeboat_strict::fuzz::archive(bytes);
});
