//! A server's answer to a request that it did not carry out.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// The answer of a server that is overloaded or broken, lacks the object, or refuses the request and says why. It is in
/// the chain of sources of the client's error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerAnswer {
    /// The HTTP status.
    pub status: u16,
    /// How long the server asks clients to wait.
    pub retry_after: Option<Duration>,
    /// The server's error code, such as `SlowDown`.
    pub code: Option<String>,
    /// The server's time.
    pub date: Option<Timestamp>,
    /// The start of its error text.
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
