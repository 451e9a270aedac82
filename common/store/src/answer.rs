//! What a server answers when it does not do what it was asked.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// The answer of a server that is overloaded, broken, or lacks what was asked. It stands in the chain of sources of the
/// error that a client gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAnswer {
    /// The HTTP status.
    pub status: u16,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The beginning of what it said.
    pub message: String,
}

impl fmt::Display for ServerAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.status)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl Error for ServerAnswer {}
