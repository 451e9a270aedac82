//! Randomness that a test can repeat.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use lifeboat_core::random::Entropy;

/// The same bytes in the same order for the same seed. Never for keys that protect anything.
pub struct SeededEntropy(Mutex<blake3::OutputReader>);

impl SeededEntropy {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("lifeboat testkit seeded entropy");
        hasher.update(&seed.to_le_bytes());
        Self(Mutex::new(hasher.finalize_xof()))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(buffer);
    }
}

impl fmt::Debug for SeededEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeededEntropy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream() {
        let draw = |seed| {
            let entropy: &dyn Entropy = &SeededEntropy::new(seed);
            (entropy.array::<16>(), entropy.array::<16>())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let (first, second) = draw(1);
        assert_ne!(first, second);
    }
}
