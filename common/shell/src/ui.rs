//! What a command may say, and where it goes: reports to standard output, everything else to standard error.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use lifeboat_core::progress::Progress;
use lifeboat_core::text::printable_lines;
use lifeboat_report::Report;
use lifeboat_report::lines::{Level, MessageLine};
use tokio_util::sync::CancellationToken;

use crate::lines::Lines;
use crate::terminal::{Bar, Warnings, complain, on_stderr, tell};
use crate::{Failure, GlobalFlags, ProgressForm, ask, output};

/// The user's side of a running command. Copies of it are of the same command.
#[derive(Clone)]
pub struct Ui {
    flags: GlobalFlags,
    bar: Arc<Bar>,
    /// What tells progress in place of the bar.
    lines: Option<Arc<Lines>>,
    warnings: Warnings,
    cancel: CancellationToken,
    /// Why standard output could not be written, the first time that it could not.
    unwritten: Arc<OnceLock<String>>,
    /// The report that `--quiet` holds back, until it is known how the command ends.
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

    /// Where long work reports how far it has come.
    pub fn progress(&self) -> Arc<dyn Progress> {
        match &self.lines {
            Some(lines) => Arc::<Lines>::clone(lines),
            None => Arc::<Bar>::clone(&self.bar),
        }
    }

    /// What becomes of warnings.
    pub(crate) fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// Ends the progress that is told or drawn.
    fn end_progress(&self) {
        self.bar.clear();
        if let Some(lines) = &self.lines {
            lines.end();
        }
    }

    /// Cancelled when the user or the system asks the process to stop. Long work must look at it.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Whether `--json` was given.
    pub fn is_json(&self) -> bool {
        self.flags.json
    }

    /// Whether a person can be asked: standard input and standard error are terminals.
    pub fn can_ask(&self) -> bool {
        ask::is_possible()
    }

    /// Asks whether what `consequence` says is meant, unless the command line says so already. Without a terminal it is
    /// not.
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

    /// Prints the command's report on standard output, in the form that was asked for. With `--quiet` it comes on standard
    /// error, and only if the command does not end well: what a timer has to mail.
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

    /// Prints one line of a long answer on standard output as soon as it is known. Under `--json` the line stands in
    /// the document instead; `--quiet` leaves it out.
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

    /// Prints a page of documentation on standard output. Who reads only its beginning may.
    pub fn page(&self, page: &[u8]) -> Result<(), Failure> {
        match output::unwritten(&output::write(page)) {
            Some(unwritten) => Err(unwritten),
            None => Ok(()),
        }
    }

    /// Tells the user something on standard error, unless `--quiet` was given.
    pub fn note(&self, message: &str) {
        if !self.flags.quiet {
            let line = MessageLine { level: Level::Note, message: message.to_owned() };
            self.bar.suspended(|| tell(&line));
        }
    }

    /// Warns the user on standard error. With `--quiet` that comes at the end, and only if the command does not end well.
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

    /// A reader that went away, as in `lifeboat-backup list | head`, is not an error. Any other
    /// failure to write is: the user did not get the report.
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

    /// Ends what is drawn, and tells what `--quiet` held back of a command that did not end well.
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
