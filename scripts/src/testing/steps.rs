//! The steps of `scripts/test`, each a command whose output is passed through.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::count::{Count, Skips};
use super::options::{Options, Tier};
use super::slowest::Slowest;
use crate::process::not_started;
use crate::setup::{self, Readiness};
use crate::terminal::Terminal;
use crate::workspace;

/// Where `tests/services` writes how long each test took.
const TIMES: &str = "LIFEBOAT_TEST_TIMES";
/// The modules with tests that take minutes: attacks on the vault, and the model of its protocol.
const ATTACKS: [&str; 2] = ["hostile::", "prune::model::"];
/// Why a plain `cargo test` leaves them out. [`attacks`] runs them.
const ATTACK: &str = "an attack: scripts/test runs it";
/// Why some are left out without `--long`.
const LONG: &str = "takes long: scripts/test --long runs it";

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Passed,
    Failed,
    /// Skipped, for this reason.
    Skipped(String),
}

pub(super) fn format(terminal: &Terminal) -> Ending {
    run(terminal, cargo(["fmt", "--all", "--check"]))
}

pub(super) fn lints(terminal: &Terminal) -> Ending {
    let args = ["clippy", "--workspace", "--all-targets", "--locked", "--keep-going", "--", "-D", "warnings"];
    run(terminal, cargo(args))
}

pub(super) fn licences(terminal: &Terminal) -> Ending {
    match cargo_deny() {
        None => without_cargo_deny(),
        Some(program) => run(terminal, deny(&program, ["check", "licenses", "bans", "sources"])),
    }
}

/// Checks dependencies for known vulnerabilities, if the database can be fetched.
pub(super) fn advisories(terminal: &Terminal) -> Ending {
    let Some(program) = cargo_deny() else { return without_cargo_deny() };
    let mut fetch = deny(&program, ["fetch", "db"]);
    let fetched = fetch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !fetched.is_ok_and(|status| status.success()) {
        return Ending::Skipped("the advisory database cannot be fetched from here".to_owned());
    }
    run(terminal, deny(&program, ["check", "--disable-fetch", "advisories"]))
}

pub(super) fn documentation(terminal: &Terminal) -> Ending {
    let mut command = cargo(["doc", "--no-deps", "--workspace", "--locked", "--keep-going"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    run(terminal, command)
}

/// What the tests came to.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) count: Count,
    pub(super) skips: Skips,
    pub(super) slowest: Slowest,
}

impl Results {
    fn read(&mut self, line: &str) {
        self.skips.read(line);
        self.slowest.read(line);
        if let Some(result) = Count::of_line(line) {
            self.count += result;
        }
    }
}

/// Runs the tests that the options choose.
pub(super) fn tests(
    terminal: &Terminal,
    options: &Options,
    ready: Option<&Readiness>,
    results: &mut Results,
) -> Ending {
    let mut command = test_programs(options);
    match options.tier {
        Some(Tier::Services) => command.args(["--workspace", "--test", "services"]),
        Some(Tier::Hermetic) | None => command.arg("--workspace"),
    };
    command.arg("--").args(&options.name);
    if let Some(ready) = ready {
        command.envs(&ready.variables);
        if ready.missing == 0 {
            command.env("LIFEBOAT_REQUIRE_SERVICES", "1");
        }
    }
    let times = std::env::temp_dir().join(format!("lifeboat-test-times-{}", std::process::id()));
    command.env(TIMES, &times);
    let ending = run_reading(terminal, command, |line| results.read(line));
    for line in std::fs::read_to_string(&times).unwrap_or_default().lines() {
        results.slowest.read_gate(line);
    }
    let _ = std::fs::remove_file(&times);
    ending
}

/// Runs the attacks on the vault, and explores the model of its protocol, which takes minutes.
pub(super) fn attacks(terminal: &Terminal, options: &Options, results: &mut Results) -> Ending {
    let mut command = test_programs(options);
    if options.long {
        // Exploring every order of steps would take hours.
        command.args(["--config", "profile.dev.package.lifeboat-vault.opt-level=2"]);
    }
    command.args(["--workspace", "--lib", "--", "--ignored"]);
    match &options.name {
        Some(name) => command.arg(name),
        None => command.args(ATTACKS),
    };
    results.skips.forget(ATTACK);
    if options.long {
        results.skips.forget(LONG);
    } else {
        command.args(["--skip", "::long::"]);
    }
    run_reading(terminal, command, |line| results.read(line))
}

/// `cargo test`, with what runs each program.
fn test_programs(options: &Options) -> Command {
    let runner = workspace().join("scripts/run-test-program");
    let runner = format!("target.'cfg(unix)'.runner=[{:?}]", runner.display().to_string());
    let mut command = cargo(["test", "--locked", "--no-fail-fast", "--config"]);
    command.arg(runner);
    if options.long {
        command.env("LIFEBOAT_LONG", "1");
    }
    command
}

fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(workspace());
    if is_ci() {
        // Nobody debugs what is built there, or builds on it.
        command.env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    }
    command
}

/// Whether this is a continuous integration machine, where nothing may be missing.
pub(super) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

fn deny<const N: usize>(program: &Path, args: [&str; N]) -> Command {
    let mut command = Command::new(program);
    command.args(["--workspace", "--locked"]).args(args).current_dir(workspace());
    command
}

fn cargo_deny() -> Option<PathBuf> {
    setup::program("cargo-deny")
}

fn without_cargo_deny() -> Ending {
    Ending::Skipped("cargo-deny is not installed (scripts/setup installs it)".to_owned())
}

pub(super) fn run(terminal: &Terminal, command: Command) -> Ending {
    run_reading(terminal, command, |_| ())
}

/// Runs a command, passes its output through line by line, and calls `read` with each line.
fn run_reading(terminal: &Terminal, mut command: Command, mut read: impl FnMut(&str)) -> Ending {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    let program = crate::process::name(&command);
    terminal.line(&format!("\n$ {program} {}", args.join(" ")));
    let mut child = match command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            terminal.complain(&not_started(&program, &error).to_string());
            return Ending::Failed;
        }
    };
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            terminal.line(&line);
            read(&line);
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Ending::Passed,
        _ => Ending::Failed,
    }
}
