//! A reproducible sequence of pseudo-random numbers.

/// The sequence.
#[derive(Debug, Clone)]
pub struct Course(u64);

impl Course {
    /// The sequence with this seed.
    #[must_use]
    pub fn new(start: u64) -> Self {
        Self(start)
    }

    /// The next number, below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33).checked_rem(limit as u64).unwrap_or_default()).unwrap_or_default()
    }

    /// One of these.
    ///
    /// # Panics
    /// When there are none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
