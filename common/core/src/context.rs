//! What an operation gets from its caller besides its own input.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock};
use crate::progress::Progress;
use crate::random::{Entropy, OsEntropy};

/// The time, randomness, an observer, and the request to stop.
#[derive(Clone)]
pub struct Context {
    /// The source of this host's time.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The observer of what is done.
    pub progress: Arc<dyn Progress>,
    /// Cancelled when the operation must stop.
    pub cancel: CancellationToken,
}

impl Context {
    /// A context with the system's clock and randomness.
    pub fn new(progress: Arc<dyn Progress>, cancel: CancellationToken) -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy), progress, cancel }
    }

    /// The same context with another clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Whether the operation must stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("cancel", &self.cancel).finish_non_exhaustive()
    }
}
