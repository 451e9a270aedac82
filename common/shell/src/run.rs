//! The one way through a binary: parse, run, exit code.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use lifeboat_core::{Fault, Kind};
use lifeboat_report::Report as _;
use tokio_util::sync::CancellationToken;

use crate::terminal::{Warnings, complain, speak_json, tell};
use crate::{Failure, GlobalFlags, Outcome, ProgressForm, Ui, arguments, help, host, lines, output};

/// A binary's command line.
pub trait Program: Parser {
    /// The flags that all binaries share.
    fn flags(&self) -> &GlobalFlags;
}

/// Parses the process's arguments and runs `command` with them, until it ends or the process is asked to stop.
///
/// The first SIGINT, SIGTERM or SIGHUP cancels the token in [`Ui::cancellation`], so that the command can restore what
/// it changed (a stopped container, a scratch network); a second one ends the process at once.
pub fn run<P, F>(command: F) -> ExitCode
where
    P: Program,
    F: AsyncFnOnce(P, &Ui) -> Result<Outcome, Failure>,
{
    let program = match arguments::parse::<P>(std::env::args_os()) {
        Ok(program) => program,
        Err(error) => return ExitCode::from(misused::<P>(&error)),
    };
    if program.flags().progress == ProgressForm::Json {
        speak_json();
    }
    if let Some(folder) = &program.flags().state_dir {
        host::name_state_folder(folder);
    }
    let cancel = CancellationToken::new();
    let ui = Ui::new(program.flags().clone(), cancel.clone());
    log_to_stderr(program.flags(), ui.warnings());
    tell_of_panics();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let said = format!("the process could not start its threads: {error}");
            tell(&Failure::internal(said, None).report());
            return ExitCode::from(Kind::Internal.exit_code());
        }
    };
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async {
            watch_signals(cancel);
            match command(program, &ui).await {
                Ok(outcome) => {
                    ui.close(outcome == Outcome::Done);
                    let Some(unwritten) = ui.unwritten() else { return outcome.exit_code() };
                    ui.fail(&unwritten);
                    unwritten.kind().exit_code()
                }
                Err(failure) => {
                    ui.close(false);
                    ui.fail(&failure);
                    failure.kind().exit_code()
                }
            }
        })
    }))
    .unwrap_or(Kind::Internal.exit_code());
    // A blocking task that still waits for a dead server must not keep the process alive.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Prints the error about the command line, or the help that was asked for. Returns the exit code.
fn misused<P: Program>(error: &clap::Error) -> u8 {
    let arguments: Vec<_> = std::env::args_os().collect();
    let is_json = arguments::wants_json_lines(&arguments);
    if is_json {
        speak_json();
    }
    // Help and version are not errors and go to standard output; clap knows which is which.
    if !error.use_stderr() {
        let Some(unwritten) = output::unwritten(&help::print(error)) else { return 0 };
        tell(&unwritten.report());
        return unwritten.kind().exit_code();
    }
    let report = arguments::failure::<P>(error).report();
    if is_json {
        tell(&report);
    } else {
        let _ = help::print(error);
        if let Some(hint) = arguments::hint::<P>(error) {
            complain(&format!("  help: {hint}\n"));
        }
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let document = report.json().expect("report types always serialise") + "\n";
        if let Some(unwritten) = output::unwritten(&output::write(document.as_bytes())) {
            tell(&unwritten.report());
        }
    }
    Kind::Usage.exit_code()
}

/// The user asked the process to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted {0}")]
struct Interrupted(&'static str);

impl Fault for Interrupted {
    fn kind(&self) -> Kind {
        Kind::Interrupted
    }
}

/// How long a command with nothing to restore may take to notice that it should stop.
const NOTICE: Duration = Duration::from_millis(500);

/// Runs a command that has nothing to restore until it ends or the process is asked to stop; `before` says what was not
/// reached then.
///
/// A command that does not notice, such as one that waits for a pipe without a writer or unpacks a large layer, ends
/// with the process.
#[expect(clippy::disallowed_methods, reason = "nothing else ends a thread that waits for a file")]
pub async fn unless_interrupted(
    ui: &Ui,
    before: &'static str,
    command: impl Future<Output = Result<Outcome, Failure>>,
) -> Result<Outcome, Failure> {
    let (printer, cancellation) = (ui.clone(), ui.cancellation().clone());
    let impatient = tokio::spawn(async move {
        cancellation.cancelled().await;
        tokio::time::sleep(NOTICE).await;
        printer.fail(&Interrupted(before).into());
        std::process::exit(i32::from(Kind::Interrupted.exit_code()));
    });
    let outcome = tokio::select! {
        outcome = command => outcome,
        () = ui.cancellation().cancelled() => Err(Interrupted(before).into()),
    };
    impatient.abort();
    outcome
}

/// Logs in the same form as messages. Warnings that `--quiet` holds back are logged anyway.
fn log_to_stderr(flags: &GlobalFlags, warnings: &Warnings) {
    let level = match flags.verbose {
        0 => "warn,object_store=error",
        1 => "info",
        _ => "debug,hyper=info,h2=info,rustls=info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("LIFEBOAT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let to_stderr = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .log_internal_errors(false)
        .event_format(lines::Events { warnings: warnings.clone() });
    // In a test process there may be a subscriber already; the first one stays.
    let _ = to_stderr.try_init();
}

fn tell_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let advice = "this is a fault of Lifeboat's own; report it with the command and the line above";
        tell(&Failure::internal(format!("internal: {panic}"), Some(advice)).report());
    }));
}

/// Watches signals from now on: until this returns, a signal ends the process at once, and afterwards no longer. A
/// signal that the parent process has set to be ignored, as `nohup` does, stays ignored.
#[expect(clippy::disallowed_methods, reason = "a second signal asks for no more waiting")]
fn watch_signals(cancel: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let ignored = ignored_signals(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    let (heard, mut signals) = tokio::sync::mpsc::channel(2);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        if ignored & (1 << (kind.as_raw_value() - 1)) != 0 {
            continue;
        }
        let Ok(mut stream) = signal(kind) else {
            tracing::warn!("a signal cannot be watched; it ends the process at once");
            continue;
        };
        let heard = heard.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && heard.send(()).await.is_ok() {} });
    }
    tokio::spawn(async move {
        if signals.recv().await.is_some() {
            cancel.cancel();
        }
        // `timeout` signals the process and then its group: both are one request.
        let one_wish = tokio::time::sleep(ONE_WISH);
        tokio::pin!(one_wish);
        loop {
            tokio::select! {
                () = &mut one_wish => break,
                heard = signals.recv() => if heard.is_none() { return },
            }
        }
        if signals.recv().await.is_some() {
            let left = LEFT_UNDONE.lock().unwrap_or_else(PoisonError::into_inner).take();
            tell(&Failure::interrupted_again(left).report());
            std::process::exit(i32::from(Kind::Interrupted.exit_code()));
        }
    });
}

/// Signals within this time after the first count as the same request.
const ONE_WISH: Duration = Duration::from_millis(500);

/// What remains undone if the process ends at once, and what to do about it.
static LEFT_UNDONE: Mutex<Option<String>> = Mutex::new(None);

/// From now on, a user who interrupts twice is told that this remains undone. `None` ends that.
pub fn left_undone_if_ended_at_once(what: Option<String>) {
    *LEFT_UNDONE.lock().unwrap_or_else(PoisonError::into_inner) = what;
}

/// The signals that are ignored, as bits: the first is signal 1 (`proc(5)`, `SigIgn`).
fn ignored_signals(status: &str) -> u64 {
    let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_kernels_word() {
        assert_eq!(ignored_signals("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored_signals(""), 0);
    }
}
