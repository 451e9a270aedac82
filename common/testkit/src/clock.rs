//! A clock that moves only when a test moves it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lifeboat_core::clock::Clock;

/// A clock that stands still until a test moves it. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct FakeClock(Arc<Mutex<Timestamp>>);

impl FakeClock {
    /// The time of a new clock: the first moment of 2026.
    pub const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

    /// A clock at [`FakeClock::START`].
    pub fn new() -> Self {
        Self::at(Self::START)
    }

    /// A clock at `time`.
    pub fn at(time: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    /// Sets it, forwards or backwards.
    pub fn set(&self, time: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// Advances it.
    ///
    /// # Panics
    ///
    /// If the new time is out of range.
    pub fn advance(&self, by: Duration) {
        self.jump(SignedDuration::try_from(by).expect("a test does not wait that long"));
    }

    /// Moves it by `by`, which may be negative, like a clock that is set.
    ///
    /// # Panics
    ///
    /// If the new time is out of range.
    pub fn jump(&self, by: SignedDuration) {
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *time = time.checked_add(by).expect("a test stays within the calendar");
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_until_it_is_moved_and_clones_move_with_it() {
        let clock = FakeClock::new();
        let same = clock.clone();
        assert_eq!(clock.now().to_string(), "2026-01-01T00:00:00Z");
        clock.advance(Duration::from_hours(24));
        assert_eq!(same.now().to_string(), "2026-01-02T00:00:00Z");
        same.jump(SignedDuration::from_hours(-48));
        assert_eq!(clock.now().to_string(), "2025-12-31T00:00:00Z");
        clock.set(FakeClock::START);
        assert_eq!(same.now(), FakeClock::START);
    }
}
