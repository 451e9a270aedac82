//! Debian packages: installed on the system, or only unpacked if we need one program out of them.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::state::State;
use crate::problem::Problem;
use crate::process::{need_root, privileged, run, which};

/// Only one apt runs at a time, and the package lists are updated once.
static UPDATED: Mutex<bool> = Mutex::new(false);

/// Installs the packages whose program is absent; returns the names of those installed.
pub(super) fn ensure<'a>(state: &State, wanted: &[(&str, &'a str)]) -> Result<Vec<&'a str>, Problem> {
    let missing: Vec<&str> =
        wanted.iter().filter(|(program, _)| which(program).is_none()).map(|&(_, package)| package).collect();
    if !missing.is_empty() {
        install(state, &missing)?;
    }
    Ok(missing)
}

/// Installs packages, whether or not they are installed.
pub(super) fn install(state: &State, packages: &[&str]) -> Result<(), Problem> {
    let names = packages.join(" ");
    need_root(&format!("installing {names}"))?;
    let mut updated = UPDATED.lock().unwrap_or_else(PoisonError::into_inner);
    update(state, &mut updated)?;
    let mut install = apt_get();
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    run(&mut install, &state.log("apt")).map_err(|problem| problem.advise(format!("install {names} by hand")))
}

/// Downloads a package and unpacks it into `dir`, without installing it: no service starts, and nothing
/// outside `dir` changes.
pub(super) fn unpack(state: &State, package: &str, dir: &Path) -> Result<(), Problem> {
    let log = state.log("apt");
    let mut updated = UPDATED.lock().unwrap_or_else(PoisonError::into_inner);
    update(state, &mut updated)?;
    let scratch = state.scratch(&format!("package-{package}"))?;
    // The user that apt drops its rights to could not write here.
    let mut download = Command::new("apt-get");
    download.args(["-o", "APT::Sandbox::User=root", "download", package]).current_dir(scratch.path());
    run(&mut download, &log)?;
    let file = std::fs::read_dir(scratch.path())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| Problem::new(format!("apt-get gave no package {package}")).with_log(&log))?;
    run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(dir), &log)
}

fn update(state: &State, updated: &mut bool) -> Result<(), Problem> {
    if which("apt-get").is_none() {
        return Err(Problem::new("this system has no apt-get").advise("use Debian or Ubuntu"));
    }
    if !*updated {
        // One broken list among many need not matter: the packages may still be available.
        let _ = run(apt_get().arg("update"), &state.log("apt"));
        *updated = true;
    }
    Ok(())
}

/// apt-get without questions, which waits for another apt to end.
fn apt_get() -> Command {
    let mut command = privileged("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "apt-get"]);
    command.args(["-o", "DPkg::Lock::Timeout=300"]);
    command
}
