//! Changes the decisions of the vault one by one, and expects a test to notice each change (cargo-mutants). Which files
//! decide, and which changes nobody can notice, is in `.cargo/mutants.toml`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::options::Options;
use super::steps::{Ending, run};
use crate::setup;
use crate::terminal::Terminal;
use crate::workspace;

/// How far back changes are recent.
const RECENT: &str = "1 day ago";
/// How many changes are tried without `--long`: some five minutes.
const MOST: usize = 20;
/// A test that runs longer than this, in seconds, has noticed the change as well.
const TIMEOUT: &str = "120";

/// Tries the changes of lines that changed lately, a sample if there are many, or of all lines with `--long`.
pub(super) fn mutants(terminal: &Terminal, options: &Options) -> Ending {
    let Some(program) = setup::program("cargo-mutants") else {
        return skipped("cargo-mutants is not installed (scripts/setup installs it)");
    };
    let mut command = cargo_mutants(&program);
    command.args(["--baseline", "skip", "--timeout", TIMEOUT, "--no-times", "--output"]);
    command.arg(workspace().join("target"));
    // It works on a copy of the tree, and shares what is built of the dependencies.
    command.env("CARGO_TARGET_DIR", workspace().join("target")).env("CARGO_INCREMENTAL", "1");
    if options.long {
        return run(terminal, command);
    }
    let Some(diff) = recent_changes() else {
        return skipped("the history does not reach back a day");
    };
    let path = workspace().join("target/recent-changes.diff");
    if let Err(error) = fs::write(&path, &diff) {
        terminal.complain(&format!("test: {} cannot be written: {error}", path.display()));
        return Ending::Failed;
    }
    match count_in(&program, &path) {
        None => Ending::Failed,
        Some(0) => skipped("no decision of the vault changed within a day"),
        Some(count) => {
            let shards = count.div_ceil(MOST);
            command.arg("--in-diff").arg(&path).args(["--shard", &format!("0/{shards}")]);
            run(terminal, command)
        }
    }
}

fn skipped(reason: &str) -> Ending {
    Ending::Skipped(reason.to_owned())
}

fn cargo_mutants(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["mutants", "--package", "lifeboat-vault"]).current_dir(workspace());
    command
}

/// What changed since the newest commit that is not recent; `None` if there is none.
fn recent_changes() -> Option<Vec<u8>> {
    let git = |args: &[&str]| -> Option<Vec<u8>> {
        let mut command = Command::new("git");
        command.args(args).current_dir(workspace()).stdin(Stdio::null());
        let output = command.output().ok()?;
        output.status.success().then_some(output.stdout)
    };
    let before = git(&["rev-list", "-1", "--before", RECENT, "HEAD"])?;
    let before = String::from_utf8(before).ok().filter(|commit| !commit.trim().is_empty())?;
    git(&["diff", before.trim(), "--", "common/vault/src"])
}

/// How many changes there are to try in the lines of a diff.
fn count_in(program: &Path, diff: &Path) -> Option<usize> {
    if fs::metadata(diff).ok()?.len() == 0 {
        return Some(0);
    }
    let mut command = cargo_mutants(program);
    command.args(["--list", "--in-diff"]).arg(diff).stdin(Stdio::null());
    let output = command.output().ok()?;
    let listed = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| listed.lines().count())
}
