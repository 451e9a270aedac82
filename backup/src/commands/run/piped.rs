//! Streams that can be read only once: standard input, and the output of a command.

use std::ffi::OsString;
use std::io::{BufRead as _, Read};
use std::process::{Child, Command, Stdio};

use lifeboat_shell::{Failure, Ui};
use lifeboat_vault::source::BytesSource;
use lifeboat_vault::{Consistency, Stream, StreamKind, StreamOutcome, VaultError};

use super::Captured;

/// Whether an empty stream is stored as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    Stored,
    Refused,
}

impl Empty {
    /// An empty dump is usually a failed dump, and would count as the newest.
    fn check(self, outcome: Option<&StreamOutcome>) -> Result<(), Failure> {
        match outcome {
            Some(outcome) if outcome.data_bytes == 0 && self == Self::Refused => Err(is_empty(&outcome.name)),
            _ => Ok(()),
        }
    }
}

fn is_empty(name: &str) -> Failure {
    Failure::refused(
        format!("`{name}` is empty, so nothing was stored"),
        "see what became of the program that should have written it; --allow-empty stores it all the same",
    )
}

/// Waits for the first byte of standard input, before anything is stopped or stored.
pub(super) async fn wait_for_input(name: &str, empty: Empty, ui: &Ui) -> Result<(), Failure> {
    if empty == Empty::Stored {
        return Ok(());
    }
    // The byte stays in this process's buffer for standard input.
    let first = tokio::task::spawn_blocking(|| std::io::stdin().lock().fill_buf().map(<[u8]>::len));
    let first = tokio::select! {
        first = first => first.map_err(|_| VaultError::Internal("the reading thread panicked"))?,
        () = ui.cancellation().cancelled() => return Err(VaultError::Interrupted.into()),
    };
    match first {
        Ok(0) => Err(is_empty(name)),
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::refused(
            format!("standard input cannot be read: {error}"),
            "give it a pipe or a file that can be read",
        )),
    }
}

/// Captures the output of `reader` as a file called `name`.
async fn capture(
    captured: Captured,
    name: &str,
    reader: impl Read + Send + 'static,
    ui: &Ui,
) -> Result<Captured, VaultError> {
    let time = captured.writer.time().as_second();
    let stream = Stream {
        kind: StreamKind::Stdin,
        name: name.to_owned(),
        consistency: Consistency::None,
        cache_key: format!("stdin {name}"),
        source: Box::new(BytesSource::new(name, reader, time)),
    };
    captured.add(stream, ui).await
}

/// Captures standard input.
pub(super) async fn input(
    captured: Captured,
    name: &str,
    empty: Empty,
    ui: &Ui,
) -> Result<Captured, Failure> {
    let captured = capture(captured, name, std::io::stdin(), ui).await?;
    empty.check(captured.streams.last().map(|stream| &stream.outcome))?;
    Ok(captured)
}

/// A command that is killed when this value is dropped, unless it has ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Captures what `command` prints. If the command fails, nothing is stored.
pub(super) async fn output(
    captured: Captured,
    name: &str,
    command: &[OsString],
    empty: Empty,
    ui: &Ui,
) -> Result<Captured, Failure> {
    let Some((program, arguments)) = command.split_first() else { return Ok(captured) };
    let shown = program.to_string_lossy().into_owned();
    let started = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut running = Running(started.map_err(|error| {
        Failure::usage(
            format!("`{shown}` cannot be started: {error}"),
            "name a program that is there, after `--`",
        )
    })?);
    let Some(printed) = running.0.stdout.take() else {
        return Err(VaultError::Internal("the command has no output").into());
    };
    let captured = capture(captured, name, printed, ui).await?;
    let ended = running.0.wait().map_err(|error| {
        Failure::refused(format!("it cannot be told how `{shown}` ended: {error}"), "run it again")
    })?;
    if !ended.success() {
        return Err(Failure::refused(
            format!("`{shown}` failed ({ended}), so nothing was stored"),
            "see what it says on standard error",
        ));
    }
    empty.check(captured.streams.last().map(|stream| &stream.outcome))?;
    Ok(captured)
}
