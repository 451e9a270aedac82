//! What a server answers when it does not do what it was asked.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// The answer of a server that is overloaded or broken, lacks what was asked, or refuses it and says why. It stands in the
/// chain of sources of the error that a client gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerAnswer {
    /// The HTTP status.
    pub status: u16,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The server's word for what is wrong, such as `SlowDown`.
    pub code: Option<String>,
    /// What time it is at the server.
    pub date: Option<Timestamp>,
    /// The beginning of what it said.
    pub message: String,
}

impl fmt::Display for ServerAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.status)?;
        match &self.code {
            Some(code) if self.message.is_empty() => write!(f, ": {code}"),
            Some(code) => write!(f, ": {code}, {}", self.message),
            None if self.message.is_empty() => Ok(()),
            None => write!(f, ": {}", self.message),
        }
    }
}

impl Error for ServerAnswer {}
