//! A command's output and where it goes: reports to standard output, everything else to standard error.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use lifeboat_core::Context;
use lifeboat_core::progress::Progress;
use lifeboat_core::text::printable_lines;
use lifeboat_report::Report;
use lifeboat_report::lines::{Level, MessageLine};
use tokio_util::sync::CancellationToken;

use crate::lines::Lines;
use crate::terminal::{Bar, Warnings, complain, on_stderr, tell};
use crate::{Failure, GlobalFlags, ProgressForm, ask, output};

/// The user interface of a running command. Clones share it.
#[derive(Clone)]
pub struct Ui {
    flags: GlobalFlags,
    bar: Arc<Bar>,
    /// Reports progress in place of the bar.
    lines: Option<Arc<Lines>>,
    warnings: Warnings,
    cancel: CancellationToken,
    /// The first error of writing to standard output.
    unwritten: Arc<OnceLock<String>>,
    /// The report that `--quiet` holds back until the command's outcome is known.
    held: Arc<Mutex<Option<String>>>,
}

impl Ui {
    pub(crate) fn new(flags: GlobalFlags, cancel: CancellationToken) -> Self {
        let draws = !flags.no_progress && !flags.json && flags.progress == ProgressForm::Auto;
        let warnings = Warnings::new(flags.quiet);
        let bar = Arc::new(Bar::new(draws, warnings.clone()));
        let lines = (flags.progress == ProgressForm::Json).then(|| Arc::new(Lines::new(warnings.clone())));
        Self { flags, bar, lines, warnings, cancel, unwritten: Arc::default(), held: Arc::default() }
    }

    /// The receiver for the progress of long work.
    pub fn progress(&self) -> Arc<dyn Progress> {
        match &self.lines {
            Some(lines) => Arc::<Lines>::clone(lines),
            None => Arc::<Bar>::clone(&self.bar),
        }
    }

    /// Handles warnings.
    pub(crate) fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// Ends the progress output.
    fn end_progress(&self) {
        self.bar.clear();
        if let Some(lines) = &self.lines {
            lines.end();
        }
    }

    /// Cancelled when the user or the system asks the process to stop. Long work must check it.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// What long work gets: the system's clock and randomness, [`Self::progress`] and [`Self::cancellation`].
    pub fn context(&self) -> Context {
        Context::new(self.progress(), self.cancel.clone())
    }

    /// Whether `--json` was given.
    pub fn is_json(&self) -> bool {
        self.flags.json
    }

    /// Whether a person can be asked: standard input and standard error are terminals.
    pub fn can_ask(&self) -> bool {
        ask::is_possible()
    }

    /// Asks for confirmation of `consequence`, unless the command line gave it already. Without a terminal there is
    /// none.
    pub fn confirm(&self, consequence: &str, is_given: bool) -> Result<(), Failure> {
        if is_given {
            return Ok(());
        }
        if !ask::is_possible() {
            return Err(Failure::usage(
                format!("{consequence}; nobody confirmed this, and there is no terminal to ask on"),
                "run it again with --yes if this is meant; nothing was changed",
            ));
        }
        self.bar.clear();
        match ask::yes(&printable_lines(&format!("{consequence}. Is this meant?"))) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(Failure::refused("it was not confirmed", "answer `yes`, written out, if it is meant"))
            }
            Err(error) => Err(Failure::usage(
                format!("no answer could be read from the terminal: {error}"),
                "run it again with --yes if it is meant",
            )),
        }
    }

    /// Prints the command's report on standard output, in the requested form. With `--quiet` it goes to standard error,
    /// and only if the command does not end well: what a timer should mail.
    ///
    /// # Panics
    /// Never: report types are strings, numbers and lists of them.
    pub fn report<R: Report>(&self, report: &R) {
        self.end_progress();
        if self.flags.json {
            let json = report.json().expect("report types always serialise");
            self.print_line(&json);
            return;
        }
        if self.flags.quiet {
            *self.held() = Some(on_stderr(report));
        } else {
            self.print_line(&printable_lines(report.text().trim_end()));
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints one line of a long answer on standard output as soon as it is known. With `--json` the line is in the
    /// document instead; `--quiet` omits it.
    pub fn line(&self, text: &str) {
        if !self.flags.json && !self.flags.quiet {
            self.bar.suspended(|| self.print_line(&printable_lines(text)));
        }
    }

    /// Prints `bytes` as they are on standard output: for commands whose result is data.
    pub fn data(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.bar.clear();
        output::write(bytes).map_err(|error| output::failed(&error))
    }

    /// Prints a page of documentation on standard output. A reader may stop early.
    pub fn page(&self, page: &[u8]) -> Result<(), Failure> {
        match output::unwritten(&output::write(page)) {
            Some(unwritten) => Err(unwritten),
            None => Ok(()),
        }
    }

    /// Prints a note on standard error, unless `--quiet` was given.
    pub fn note(&self, message: &str) {
        if !self.flags.quiet {
            let line = MessageLine { level: Level::Note, message: message.to_owned() };
            self.bar.suspended(|| tell(&line));
        }
    }

    /// Prints a warning on standard error; with `--quiet`, at the end, and only if the command does not end well.
    pub fn warn(&self, message: &str) {
        self.progress().warn(message);
    }

    pub(crate) fn fail(&self, failure: &Failure) {
        self.end_progress();
        let report = failure.report();
        if self.flags.json {
            self.print_line(&report.json().expect("report types always serialise"));
        }
        tell(&report);
    }

    /// A reader that went away, as in `lifeboat-backup list | head`, is not an error. Any other write error is: the
    /// user did not get the report.
    fn print_line(&self, text: &str) {
        match output::write(format!("{text}\n").as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                let _ = self.unwritten.set(error.to_string());
            }
            _ => {}
        }
    }

    /// The failure of a command whose report could not be written.
    pub(crate) fn unwritten(&self) -> Option<Failure> {
        let error = self.unwritten.get()?;
        let said = format!("standard output cannot be written: {error}");
        Some(Failure::refused(said, "see where it goes; what the command did is done"))
    }

    /// Ends the progress output, and prints what `--quiet` held back if the command did not end well.
    pub(crate) fn close(&self, is_well: bool) {
        self.end_progress();
        if is_well {
            return;
        }
        self.warnings.tell_withheld();
        if let Some(text) = self.held().take() {
            complain(&format!("{}\n", text.trim_end()));
        }
    }
}
