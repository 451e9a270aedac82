//! Standard output: written at once, and the consequences if it cannot be.

use std::io::{self, ErrorKind, Write as _};

use crate::Failure;

/// Writes all of `bytes` and flushes.
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// The failure of a command whose output could not be written. A reader that went away, as in `lifeboat-backup list |
/// head`, is not a failure.
pub(crate) fn unwritten(written: &io::Result<()>) -> Option<Failure> {
    let error = written.as_ref().err()?;
    (error.kind() != ErrorKind::BrokenPipe).then(|| failed(error))
}

/// The same for output that is useless unless it is complete.
pub(crate) fn failed(error: &io::Error) -> Failure {
    Failure::refused(format!("standard output cannot be written: {error}"), "see where it goes")
}
