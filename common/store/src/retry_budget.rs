//! How long an operation is retried: one budget for all of its attempts, with growing pauses between them.

use std::time::Duration;

use lifeboat_core::random::{Entropy, OsEntropy};
use tokio::time::Instant;

use crate::diagnosis::Retry;
use crate::error::Effort;

/// No attempt starts later than this after the first failure: long enough for a server to be restarted.
const BUDGET: Duration = Duration::from_mins(2);
/// The same while the store has never answered: its address is probably wrong.
const FIRST_CONTACT_BUDGET: Duration = Duration::from_secs(10);
/// The number of attempts in that case.
const FIRST_CONTACT_ATTEMPTS: u32 = 3;
/// The number of attempts if the store itself seems to be at fault.
const DOUBTFUL_ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What is left of one operation's retry budget.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    started: Instant,
    first_failure: Option<Instant>,
    attempts: u32,
    /// A probe of a store that is being left alone gets one attempt.
    is_probe: bool,
}

impl RetryBudget {
    pub(crate) fn new(is_probe: bool) -> Self {
        Self { started: Instant::now(), first_failure: None, attempts: 0, is_probe }
    }

    /// Counts a failed attempt. Returns the pause before the next one, or `None` if the budget is used up.
    pub(crate) fn after(&mut self, retry: Retry, has_answered: bool) -> Option<Duration> {
        self.attempts += 1;
        let since_failure = self.first_failure.get_or_insert_with(Instant::now).elapsed();
        let (retry_after, most) = match retry {
            Retry::Settled => return None,
            Retry::Passing(retry_after) => (retry_after, u32::MAX),
            Retry::Doubtful => (None, DOUBTFUL_ATTEMPTS),
        };
        let (budget, most) = if has_answered {
            (BUDGET, most)
        } else {
            (FIRST_CONTACT_BUDGET, most.min(FIRST_CONTACT_ATTEMPTS))
        };
        let pause = pause(self.attempts).max(retry_after.unwrap_or_default());
        let is_over = self.is_probe || self.attempts >= most || since_failure + pause > budget;
        (!is_over).then_some(pause)
    }

    pub(crate) fn effort(&self) -> Effort {
        Effort { attempts: self.attempts, elapsed: self.started.elapsed() }
    }
}

/// The pause after that many attempts. It doubles each time, and up to half of it is random, so that hosts that failed
/// together do not return together.
pub(crate) fn pause(attempts: u32) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let entropy: &dyn Entropy = &OsEntropy;
    let [chance] = entropy.array::<1>();
    whole.mul_f64(0.5 + f64::from(chance) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails until the budget is used up; returns the number of attempts and the time that they took.
    async fn exhaust(retry: Retry, has_answered: bool) -> Effort {
        let mut retry_budget = RetryBudget::new(false);
        while let Some(pause) = retry_budget.after(retry, has_answered) {
            tokio::time::sleep(pause).await;
        }
        retry_budget.effort()
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_once_answered_gets_two_minutes() {
        let effort = exhaust(Retry::Passing(None), true).await;
        assert!((10..=40).contains(&effort.attempts), "{effort:?}");
        assert!((100..=120).contains(&effort.elapsed.as_secs()), "{effort:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_answered_gets_three_attempts() {
        let effort = exhaust(Retry::Passing(None), false).await;
        assert_eq!(effort.attempts, 3);
        assert!(effort.elapsed < Duration::from_secs(1), "{effort:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_servers_wish_is_kept_within_the_budget() {
        let mut retry_budget = RetryBudget::new(false);
        let asked = Duration::from_secs(40);
        assert_eq!(retry_budget.after(Retry::Passing(Some(asked)), true), Some(asked));
        assert_eq!(exhaust(Retry::Passing(Some(asked)), true).await.elapsed.as_secs(), 120);
        let too_long = Retry::Passing(Some(Duration::from_hours(1)));
        assert_eq!(exhaust(too_long, true).await.attempts, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_settled_or_a_probe_is_tried_once_and_what_is_doubtful_thrice() {
        assert_eq!(exhaust(Retry::Settled, true).await.attempts, 1);
        assert_eq!(exhaust(Retry::Doubtful, true).await.attempts, 3);
        assert_eq!(RetryBudget::new(true).after(Retry::Passing(None), true), None);
    }

    #[test]
    fn pauses_grow_and_stay_below_their_limit() {
        for attempts in 1..=100 {
            let whole = FIRST_PAUSE.saturating_mul(1 << (attempts - 1).min(16)).min(LONGEST_PAUSE);
            assert!((whole / 2..=whole).contains(&pause(attempts)), "{attempts}");
        }
    }
}
