//! What tests back up, and who is told of it.

use std::sync::Arc;

use lifeboat_core::progress::{Progress, Silent};

/// Bytes that do not compress and that `seed` tells apart.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Progress that nobody sees.
pub fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}
