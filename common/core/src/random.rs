//! The seam through which randomness is drawn.

/// A source of cryptographically secure random bytes.
pub trait Entropy: Send + Sync {
    /// Fills all of `buffer`.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness: then no key may be made, and no caller could go on.
    fn fill(&self, buffer: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives randomness");
    }
}

impl dyn Entropy + '_ {
    /// An array of `N` random bytes.
    pub fn array<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}
