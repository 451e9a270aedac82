//! The seam through which time is read.

use jiff::Timestamp;

/// The source of time. Product code takes one as a parameter; only [`SystemClock`] asks the operating system.
pub trait Clock: Send + Sync {
    /// The present time as this host knows it.
    fn now(&self) -> Timestamp;
}

/// The host's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
