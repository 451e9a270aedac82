//! `scripts/setup`: installs and starts what the tests and the demo need, and reports it line by line.

mod docker;
mod environment;
mod images;
mod minio;
mod options;
mod packages;
mod part;
mod parts;
mod python;
mod registry;
mod services;
mod state;
mod stores;
mod tools;

pub(crate) use self::images::{BUSYBOX, POSTGRES};
pub(crate) use self::registry::PLAIN as REGISTRY;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::environment::Variables;
use self::options::Request;
use self::part::{How, LANES, Outcome, Part};
use self::state::State;
use crate::problem::Problem;
use crate::process::{is_executable, which};
use crate::terminal::{Terminal, duration, hanging};

/// Where the text of a line starts, after "  installed  ".
const INDENT: usize = 13;

/// Parses the command line and does what it asks: 0 done, 1 something is missing or failed, 2 usage.
pub fn main() -> ExitCode {
    let terminal = Terminal::new();
    let done = match options::parse(std::env::args().skip(1)) {
        Ok(Request::Help) => {
            terminal.line(&options::help());
            return ExitCode::SUCCESS;
        }
        Ok(Request::Stop) => stop(&terminal),
        Ok(Request::Ensure { only, require_all }) => {
            ensure(&terminal, &only).map(|ready| ready.missing == 0 || !require_all)
        }
        Err(usage) => {
            terminal.complain(&format!("setup: {usage}\nhelp: see scripts/setup --help"));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            terminal.complain(&format!("setup: {problem}"));
            ExitCode::FAILURE
        }
    }
}

/// What setup provides for tests and demo.
#[derive(Debug)]
pub(crate) struct Readiness {
    /// How many of the wanted parts could not be provided.
    pub(crate) missing: usize,
    /// The variables of the `env` file.
    pub(crate) variables: Variables,
}

/// The path of a program: from setup, or on the PATH.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let ours = State::open().ok().map(|state| state.program(name)).filter(|path| is_executable(path));
    ours.or_else(|| which(name))
}

/// Ensures the parts named in `only`, or all, and prints a line for each.
pub(crate) fn ensure(terminal: &Terminal, only: &[String]) -> Result<Readiness, Problem> {
    let started = Instant::now();
    let state = State::open()?;
    let _lock = state.lock(|| terminal.line("Another setup is under way: waiting for it to end."))?;
    let chosen = chosen(only);
    terminal.line(&format!("Lifeboat setup, in {}", state.root().display()));

    let board = Board::default();
    thread::scope(|scope| {
        for lane in LANES {
            let (chosen, board, state) = (&chosen, &board, &state);
            scope.spawn(move || {
                for part in chosen.iter().filter(|part| part.lane == lane) {
                    board.post(part, run_part(terminal, state, board, part));
                }
            });
        }
    });
    let results = board.results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let variables = write_environment(&state, &chosen, &results)?;
    terminal.line(&summary(&results, started.elapsed()));
    Ok(Readiness { missing: results.values().filter(|how| how.is_none()).count(), variables })
}

/// The parts with these names and those that they need, in the table's order.
fn chosen(only: &[String]) -> Vec<&'static Part> {
    let mut names: Vec<&str> = only.iter().map(String::as_str).collect();
    let mut next = 0;
    while let Some(name) = names.get(next) {
        names.extend(parts::find(name).map_or(&[][..], |part| part.needs));
        next += 1;
    }
    parts::ALL.iter().filter(|part| only.is_empty() || names.contains(&part.name)).collect()
}

fn run_part(terminal: &Terminal, state: &State, board: &Board, part: &Part) -> Option<How> {
    let missing = part.needs.iter().find(|need| board.wait_for(need).is_none());
    terminal.begin(part.name);
    let started = Instant::now();
    let outcome = match missing {
        Some(need) => Err(Problem::new(format!("it needs {need}, which is missing"))),
        None => (part.ensure)(state),
    };
    terminal.end(part.name, &report(part, &outcome, started.elapsed()));
    outcome.ok().map(|ready| ready.how)
}

fn report(part: &Part, outcome: &Outcome, time: Duration) -> String {
    let name = part.name;
    match outcome {
        Ok(ready) => {
            let word = match ready.how {
                How::Found => "found",
                How::Installed => "installed",
                How::Started => "started",
            };
            let took = match ready.how {
                How::Found => String::new(),
                How::Installed | How::Started => format!("  ({})", duration(time)),
            };
            format!("  {word:<9}  {name:<18}  {}{took}", ready.detail)
        }
        Err(problem) => {
            let problem = hanging(&problem.to_string(), INDENT);
            format!("  missing    {name:<18}  {}\n{:INDENT$}{problem}", part.title, "")
                + &format!("\n{:INDENT$}without it: {}", "", part.without)
        }
    }
}

fn summary(results: &Results, time: Duration) -> String {
    let count = |wanted| results.values().filter(|&&how| how == wanted).count();
    let missing = match count(None) {
        0 => String::new(),
        number => format!(", {number} missing"),
    };
    format!(
        "{} found, {} installed, {} started{missing}, in {}.",
        count(Some(How::Found)),
        count(Some(How::Installed)),
        count(Some(How::Started)),
        duration(time)
    )
}

/// Keeps what earlier runs wrote about other parts, and removes what is missing now.
fn write_environment(state: &State, chosen: &[&Part], results: &Results) -> Result<Variables, Problem> {
    let mut variables = environment::read(&state.env_file());
    for part in chosen {
        let is_ready = results.get(part.name).is_some_and(Option::is_some);
        for (name, value) in (part.variables)(state) {
            if is_ready {
                variables.insert(name.to_owned(), value);
            } else {
                variables.remove(name);
            }
        }
    }
    environment::write(&state.env_file(), &variables)?;
    Ok(variables)
}

/// Stops the services that setup started.
fn stop(terminal: &Terminal) -> Result<bool, Problem> {
    let state = State::open()?;
    let _lock = state.lock(|| terminal.line("Another setup is under way: waiting for it to end."))?;
    let mut all_stopped = true;
    let running = services::running(&state);
    for name in &running {
        match services::stop(&state, name) {
            Ok(_) => terminal.line(&format!("  stopped    {name}")),
            Err(problem) => {
                all_stopped = false;
                terminal.line(&format!("  running    {}", hanging(&problem.to_string(), INDENT)));
            }
        }
    }
    if running.is_empty() {
        terminal.line("Nothing that setup started is running.");
    }
    Ok(all_stopped)
}

/// How each part was provided; `None` for one that is missing.
type Results = BTreeMap<&'static str, Option<How>>;

/// Where lanes post results for each other.
#[derive(Debug, Default)]
struct Board {
    results: Mutex<Results>,
    posted: Condvar,
}

impl Board {
    fn post(&self, part: &Part, how: Option<How>) {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).insert(part.name, how);
        self.posted.notify_all();
    }

    fn wait_for(&self, name: &str) -> Option<How> {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let results = self
            .posted
            .wait_while(results, |results| !results.contains_key(name))
            .unwrap_or_else(PoisonError::into_inner);
        results.get(name).copied().flatten()
    }
}
