//! A pack: its header, its trailer, and the frames in it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    lifeboat_vault::fuzz::pack(bytes);
});
