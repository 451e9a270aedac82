//! What is known about a store besides its location: the settings that are not secret, and the server's time.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Settings that select a storage, by the names of their variables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    /// The URL of the server, if one is given.
    pub(crate) endpoint: Option<String>,
    /// Variables and their values, none of them secret.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// The variables that usually hold credentials.
    pub(crate) credentials: &'static [&'static str],
    /// The server's clock.
    pub(crate) clock: ServerClock,
}

/// The clock of a server, from its answers. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerClock(Arc<Mutex<Option<(Timestamp, Instant)>>>);

impl ServerClock {
    /// Sets it from the value of a `Date` header.
    pub(crate) fn hear(&self, date: &str) -> Option<Timestamp> {
        let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((date, Instant::now()));
        Some(date)
    }

    /// The present time there: the last value that was received, plus the time since then.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        let (date, heard) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let since = SignedDuration::try_from(heard.elapsed()).ok()?;
        date.checked_add(since).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_servers_clock_goes_on_after_its_last_word() {
        let clock = ServerClock::default();
        assert_eq!(clock.now(), None);
        assert_eq!(clock.hear("today"), None);
        let said: Timestamp = "2026-10-21T07:28:00Z".parse().unwrap();
        assert_eq!(clock.hear("Wed, 21 Oct 2026 07:28:00 GMT"), Some(said));
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now(), Some(said + SignedDuration::from_secs(90)));
    }
}
