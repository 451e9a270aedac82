//! A Python of our own with the packages that the independent reader of repositories and the oracle of signatures need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages;
use super::part::{Outcome, Ready};
use super::state::State;
use crate::problem::Problem;
use crate::process::{ask, run};

/// The packages at the versions that the reader pins.
const REQUIREMENTS: &str = include_str!("../../../tests/reader/requirements.txt");
/// The reader's packages need at least this Python.
const IS_NEW_ENOUGH: &str = "import sys; sys.exit(sys.version_info < (3, 11))";
const CAN_INSTALL: &str = "import ensurepip, venv";

/// The interpreter with the packages.
pub(super) fn interpreter(state: &State) -> PathBuf {
    environment(state).join("bin/python")
}

fn environment(state: &State) -> PathBuf {
    state.root().join("python")
}

pub(super) fn ensure(state: &State) -> Outcome {
    let (environment, log) = (environment(state), state.log("python"));
    let noted = environment.join("requirements.txt");
    if fs::read_to_string(&noted).is_ok_and(|noted| noted == REQUIREMENTS) && answers(state, "import blake3")
    {
        return Ok(Ready::found(versions()));
    }
    packages::ensure(state, &[("python3", "python3")])?;
    if ask("python3", &["-c", IS_NEW_ENOUGH]).is_none() {
        return Err(Problem::new("python3 is older than 3.11").advise("install Python 3.11 or newer"));
    }
    if ask("python3", &["-c", CAN_INSTALL]).is_none() {
        packages::install(state, &["python3-venv"])?;
    }
    let mut make = Command::new("python3");
    run(make.args(["-m", "venv", "--clear"]).arg(&environment), &log)?;
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reader/requirements.txt");
    let mut install = Command::new(interpreter(state));
    install.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--only-binary=:all:",
    ]);
    run(install.arg("--requirement").arg(requirements), &log)?;
    // Written last, so that an interrupted installation is repeated.
    fs::write(&noted, REQUIREMENTS).map_err(|error| Problem::io("cannot write", &noted, &error))?;
    Ok(Ready::new(true, versions()))
}

fn answers(state: &State, code: &str) -> bool {
    ask(&interpreter(state).to_string_lossy(), &["-c", code]).is_some()
}

/// The packages and their versions on one line.
fn versions() -> String {
    let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.replace("==", " ")).collect::<Vec<_>>().join(", ")
}
