//! Standard output: written at once, and what it means that it cannot be.

use std::io::{self, ErrorKind, Write as _};

use crate::Failure;

/// Writes all of `bytes`, and waits for nothing more before they go.
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// The failure of a command whose answer could not be written. A reader that went away, as in `lifeboat-backup list | head`,
/// is its own affair.
pub(crate) fn unwritten(written: &io::Result<()>) -> Option<Failure> {
    let error = written.as_ref().err()?;
    (error.kind() != ErrorKind::BrokenPipe).then(|| failed(error))
}

/// The same, where the reader must have all of it.
pub(crate) fn failed(error: &io::Error) -> Failure {
    Failure::refused(format!("standard output cannot be written: {error}"), "see where it goes")
}
