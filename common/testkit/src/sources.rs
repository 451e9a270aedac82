//! Data for tests to back up, and progress for tests.

use std::sync::Arc;

use lifeboat_core::Context;
use lifeboat_core::progress::{Progress, Silent};
use tokio_util::sync::CancellationToken;

/// Incompressible bytes, different for each `seed`.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A context with the system's clock and randomness, whose progress is ignored and which nobody cancels.
pub fn context() -> Context {
    Context::new(silent(), CancellationToken::new())
}

/// Progress that is ignored.
pub fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}
