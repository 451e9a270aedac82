//! `scripts/test`: setup, then every check and every test of the workspace, with the time of each.

mod count;
mod mutants;
mod options;
mod slowest;
mod steps;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::options::{Options, Request};
use self::steps::{Ending, Results};
use crate::setup;
use crate::terminal::{Terminal, duration};

/// Parses the command line and tests: 0 all passed, 1 something failed, 2 usage.
pub fn main() -> ExitCode {
    let terminal = Terminal::new();
    match options::parse(std::env::args().skip(1)) {
        Ok(Request::Help) => {
            terminal.line(options::HELP);
            ExitCode::SUCCESS
        }
        Ok(Request::Test(options)) => test(&terminal, &options),
        Err(usage) => {
            terminal.complain(&format!("test: {usage}\nhelp: see scripts/test --help"));
            ExitCode::from(2)
        }
    }
}

/// How long everything took on a machine with two cores, from a fresh clone; about half of it is building.
const HOW_LONG: &str =
    "Everything takes about 35 minutes on two cores from a fresh clone, and about 20 once it is built.";

fn test(terminal: &Terminal, options: &Options) -> ExitCode {
    if options.is_whole() {
        terminal.line(HOW_LONG);
    }
    let mut journal = Journal::default();
    let ready = if options.wants_services() {
        match journal.time("setup", || set_up(terminal)) {
            Some(ready) => Some(ready),
            None => return ExitCode::FAILURE,
        }
    } else {
        None
    };
    if options.is_whole() {
        journal.step("format", || steps::format(terminal));
        journal.step("lints", || steps::lints(terminal));
        journal.step("licences", || steps::licences(terminal));
        journal.step("advisories", || steps::advisories(terminal));
        journal.step("documentation", || steps::documentation(terminal));
    }
    let mut results = Results::default();
    journal.step("tests", || steps::tests(terminal, options, ready.as_ref(), &mut results));
    if options.wants_attacks() {
        journal.step("attacks", || steps::attacks(terminal, options, &mut results));
    }
    if options.is_whole() {
        journal.step("mutants", || mutants::mutants(terminal, options));
    }
    terminal.line(&format!("\nThe slowest tests:\n{}", results.slowest));
    terminal.line(&journal.render());
    if let Some(ready) = ready.filter(|ready| ready.missing > 0) {
        terminal.line(&format!("{} parts are missing: see what setup says above.", ready.missing));
    }
    let Results { count, skips, .. } = results;
    terminal.line(&format!("{skips}{count}, {} skipped", skips.total()));
    if journal.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Sets up the services; under CI a missing part ends the run.
fn set_up(terminal: &Terminal) -> (Ending, Option<setup::Readiness>) {
    match setup::ensure(terminal, &[]) {
        Ok(ready) if ready.missing > 0 && steps::is_ci() => {
            terminal.complain("test: every part is required where CI is set, and some are missing");
            (Ending::Failed, None)
        }
        Ok(ready) => (Ending::Passed, Some(ready)),
        Err(problem) => {
            terminal.complain(&format!("setup: {problem}"));
            (Ending::Failed, None)
        }
    }
}

/// What was done, how it ended, and the time it took.
#[derive(Debug, Default)]
struct Journal {
    entries: Vec<(&'static str, Ending, Duration)>,
}

impl Journal {
    fn step(&mut self, name: &'static str, step: impl FnOnce() -> Ending) {
        self.time(name, || (step(), ()));
    }

    fn time<T>(&mut self, name: &'static str, step: impl FnOnce() -> (Ending, T)) -> T {
        let started = Instant::now();
        let (ending, result) = step();
        self.entries.push((name, ending, started.elapsed()));
        result
    }

    fn has_failed(&self) -> bool {
        self.entries.iter().any(|(_, ending, _)| *ending == Ending::Failed)
    }

    fn render(&self) -> String {
        let lines: Vec<String> = self
            .entries
            .iter()
            .map(|(name, ending, time)| match ending {
                Ending::Passed => format!("  passed   {name:<14} {}", duration(*time)),
                Ending::Failed => format!("  FAILED   {name:<14} {}", duration(*time)),
                Ending::Skipped(reason) => format!("  skipped  {name:<14} {reason}"),
            })
            .collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_run() {
        let mut journal = Journal::default();
        journal.step("format", || Ending::Passed);
        journal.step("advisories", || Ending::Skipped("no network".to_owned()));
        assert!(!journal.has_failed());
        journal.step("tests", || Ending::Failed);
        assert!(journal.has_failed());
        assert!(journal.render().contains("skipped  advisories     no network"));
    }
}
