//! A circuit breaker: a store that keeps failing is left alone for a while, so that callers with other work fail at
//! once instead of waiting each time.
//!
//! It counts operations that used up their retry budget, not attempts: a server that is being restarted is waited for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many operations in a row must fail.
pub(crate) const THRESHOLD: u32 = 3;
/// How long the store is left alone the first time; each failed probe doubles it.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_mins(5);

/// The breaker of one store.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Operations that failed in a row.
    failures: u32,
    /// The error of the last of them.
    last: String,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    since: Instant,
    rest: Duration,
    until: Instant,
    is_probed: bool,
}

/// Why an operation may not begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftAlone {
    pub(crate) failures: u32,
    pub(crate) opened: Duration,
    pub(crate) retry: Duration,
    pub(crate) last: String,
}

/// Permission to try an operation; its result must be reported here. Dropping it changes nothing.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl Breaker {
    /// Admits an operation, unless the store is being left alone. After the rest, one operation is admitted as a probe.
    pub(crate) fn admit(&self) -> Result<Admission<'_>, LeftAlone> {
        let mut state = self.lock();
        let (failures, now) = (state.failures, Instant::now());
        let refusal = |open: &Open, last: &str| LeftAlone {
            failures,
            opened: now - open.since,
            retry: open.until.saturating_duration_since(now),
            last: last.to_owned(),
        };
        let State { open, last, .. } = &mut *state;
        match open {
            None => Ok(Admission { breaker: self, is_probe: false }),
            Some(open) if open.is_probed || now < open.until => Err(refusal(open, last)),
            Some(open) => {
                open.is_probed = true;
                Ok(Admission { breaker: self, is_probe: true })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission<'_> {
    pub(crate) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// The store answered, so it works, whatever the answer was.
    pub(crate) fn answered(self) {
        *self.breaker.lock() = State::default();
    }

    /// The operation failed for good. Returns for how long the store is left alone, if it is from now on.
    pub(crate) fn gave_up(self, said: &str) -> Option<Duration> {
        let mut state = self.breaker.lock();
        let now = Instant::now();
        said.clone_into(&mut state.last);
        state.failures += 1;
        let rest = match state.open {
            Some(open) if self.is_probe => (open.rest * 2).min(LONGEST_REST),
            None if state.failures >= THRESHOLD => FIRST_REST,
            _ => return None,
        };
        let since = state.open.map_or(now, |open| open.since);
        state.open = Some(Open { since, rest, until: now + rest, is_probed: false });
        Some(rest)
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(open) = &mut self.breaker.lock().open
        {
            // If a probe is cancelled, the next operation takes its place.
            open.is_probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Breaker) -> Option<Duration> {
        breaker.admit().unwrap().gave_up("no answer")
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_says_since_when() {
        let breaker = Breaker::default();
        assert_eq!((fail(&breaker), fail(&breaker)), (None, None));
        breaker.admit().unwrap().answered();
        assert_eq!((fail(&breaker), fail(&breaker)), (None, None));
        assert_eq!(fail(&breaker), Some(FIRST_REST));
        tokio::time::advance(Duration::from_secs(12)).await;
        let refusal = breaker.admit().unwrap_err();
        let (opened, retry) = (Duration::from_secs(12), Duration::from_secs(18));
        assert_eq!(refusal, LeftAlone { failures: 3, opened, retry, last: "no answer".to_owned() });
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_decides_after_the_rest() {
        let breaker = Breaker::default();
        (fail(&breaker), fail(&breaker), fail(&breaker)).0.ok_or(()).unwrap_err();
        tokio::time::advance(FIRST_REST).await;
        let probe = breaker.admit().unwrap();
        assert!(probe.is_probe());
        breaker.admit().unwrap_err();
        assert_eq!(probe.gave_up("still none"), Some(FIRST_REST * 2));

        tokio::time::advance(FIRST_REST).await;
        let refusal = breaker.admit().unwrap_err();
        assert_eq!((refusal.opened, refusal.retry), (FIRST_REST * 2, FIRST_REST));
        tokio::time::advance(FIRST_REST).await;
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().answered();
        assert!(!breaker.admit().unwrap().is_probe());
        assert_eq!(fail(&breaker), None);
    }
}
