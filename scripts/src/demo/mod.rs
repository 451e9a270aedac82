//! `scripts/demo`: Lifeboat's main job, shown in numbered steps with the commands that a person would type.
//!
//! Setup and build come first. Then the process starts itself again, now ignoring Ctrl-C, which its commands do not
//! ignore: an interrupt ends the current command, the story fails with it, and everything is removed before the demo
//! ends too.

mod call;
mod cleaning;
mod files;
mod image;
mod interrupt;
mod layout;
mod narrator;
mod options;
mod sbom;
mod shop;
mod story;
mod work;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use self::call::Call;
use self::narrator::{INTERRUPTED, Narrator};
use self::options::{Options, Request};
use self::story::Story;
use self::work::{Leftover, Work};
use crate::problem::Problem;
use crate::process::{is_root, need_root, privileged};
use crate::setup;
use crate::terminal::Terminal;
use crate::workspace;

/// How long the first build took on a machine with two cores.
const FIRST_BUILD: &str = "\nThe programs are not built yet: that takes about 10 minutes on two cores, and the demo itself about 2.";

/// Set for the second half of the demo, which ignores Ctrl-C: how many steps were shown.
const SECOND_HALF: &str = "LIFEBOAT_DEMO_SECOND_HALF";

/// The parts of setup that the demo needs, and through them the engine and the registry.
const PARTS: [&str; 2] = ["postgres-image", "busybox-image"];

/// Parses the command line and runs the demo: 0 if every step came out as expected, 1 if one did not, 2 usage, 130
/// interrupted.
pub fn main() -> ExitCode {
    let terminal = Terminal::new();
    let done = match options::parse(std::env::args().skip(1)) {
        Ok(Request::Help) => {
            terminal.line(options::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Request::Clean) => clean(&terminal),
        Ok(Request::Show(options)) => match std::env::var(SECOND_HALF) {
            Err(_) => prepare(&terminal, options),
            Ok(steps) => tell(&terminal, options, steps.parse().unwrap_or_default()),
        },
        Err(usage) => {
            terminal.complain(&format!("demo: {usage}\nhelp: see scripts/demo --help"));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            terminal.complain(&format!("\ndemo: {problem}"));
            let code = if problem.is_interruption() { INTERRUPTED } else { 1 };
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}

/// The first half, which needs no cleaning up.
fn prepare(terminal: &Terminal, options: Options) -> Result<(), Problem> {
    terminal.line(if options.no_docker { INTRODUCTION_WITHOUT_DOCKER } else { INTRODUCTION });
    let narrator = Narrator::new(terminal);
    if !options.no_docker {
        narrator.step("Set up what the demo needs: Docker, a registry and two images", || {
            let parts = PARTS.map(str::to_owned);
            narrator.show(&Call::new(&format!("scripts/setup --only {}", parts.join(","))));
            let ready = setup::ensure(terminal, &parts)?;
            if ready.missing > 0 {
                return Err(Problem::new("something that the demo needs is missing: see above")
                    .advise("scripts/demo --no-docker needs none of it"));
            }
            // Volumes are in folders that belong to root.
            need_root("reading volumes")
        })?;
    }
    if !target().join("release/lifeboat-backup").exists() {
        terminal.line(FIRST_BUILD);
    }
    narrator.step("Build the four programs", || {
        // Built the way the README says, so that one build serves both.
        let call = Call::new("cargo build --release --locked");
        let mut command = Command::new("cargo");
        command.args(&call.words()[1..]).current_dir(workspace()).env("CARGO_TARGET_DIR", target());
        narrator.run_quietly(command, &call).map(drop)
    })?;
    Err(become_second_half(narrator.steps(), options))
}

/// Replaces this process by one that ignores Ctrl-C and a lost terminal, and that runs as root if there are containers.
/// Returns only if that fails, with the reason.
fn become_second_half(steps: u32, options: Options) -> Problem {
    let mut command = if options.no_docker { Command::new("env") } else { as_root() };
    command.arg(format!("{SECOND_HALF}={steps}"));
    command.args(["sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh"]);
    become_myself(command)
}

/// A command that runs another one as root, with the part of this process's environment that it needs.
fn as_root() -> Command {
    let mut command = privileged("env");
    for name in ["PATH", "HOME", "TMPDIR", "DOCKER_HOST", "CARGO_TARGET_DIR"] {
        command.args(std::env::var(name).map(|value| format!("{name}={value}")));
    }
    command
}

/// Replaces this process by `command`, given this program and its arguments. Returns only if that fails.
fn become_myself(mut command: Command) -> Problem {
    let error = match std::env::current_exe() {
        Ok(me) => command.arg(me).args(std::env::args().skip(1)).exec(),
        Err(error) => error,
    };
    Problem::new(format!("the demo cannot go on: {error}"))
}

/// The second half: the story, and in any case the clean-up.
fn tell(terminal: &Terminal, options: Options, steps: u32) -> Result<(), Problem> {
    let narrator = Narrator::watching(terminal, steps)?;
    let work = Work::create(&target().join("release"))?;
    let reports = target().join("demo").join(work.name());
    let told = Story::new(&narrator, &work, &reports).tell(options.no_docker);
    if options.keep {
        terminal.line(&format!("\nKept: {}, and what is named after it.", work.dir().display()));
        terminal.line("`scripts/demo --clean` removes it.");
    } else {
        let own = Leftover::of(&work);
        let cleaned = narrator.step("Clean up", || cleaning::clean(&narrator, &own));
        if told.is_ok() {
            cleaned?;
        }
    }
    let report = told?;
    files::give_to_owner_of(&target(), &reports)?;
    terminal.line(&format!(
        "\nAll {} steps came out as expected. The drill report, for a browser:",
        narrator.steps()
    ));
    terminal.line(&report.display().to_string());
    Ok(())
}

/// Removes the leftovers of demos that no longer run.
fn clean(terminal: &Terminal) -> Result<(), Problem> {
    let narrator = Narrator::new(terminal);
    for leftover in Leftover::mine() {
        let sentence = format!("Remove what demo {} left", leftover.id);
        narrator.step(&sentence, || cleaning::clean(&narrator, &leftover))?;
    }
    // With containers a demo runs as root, so its clean-up must as well.
    if !is_root() && Leftover::is_there_any_of_root() {
        return Err(become_myself(as_root()));
    }
    terminal.line("No demo that has ended left anything else behind.");
    Ok(())
}

/// Cargo's output folder.
fn target() -> PathBuf {
    let told = std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let target = told.unwrap_or_else(|| workspace().join("target"));
    std::path::absolute(&target).unwrap_or(target)
}

const INTRODUCTION: &str = "\
Lifeboat, shown on a small shop: its database is backed up, the restore is
rehearsed, its image is signed and verified. Nothing of yours is touched, and
what the demo makes is removed at the end; only the drill report stays.";

const INTRODUCTION_WITHOUT_DOCKER: &str = "\
Lifeboat without containers: a folder is backed up into another folder, the
restore is rehearsed, an image on disk is signed and verified. Nothing of yours
is touched, and what the demo makes is removed at the end; only the drill report
stays.";
