//! The Docker Engine: a working one is left alone; otherwise Debian's is installed and started.

use std::path::Path;
use std::process::Command;

use super::part::{Outcome, Ready};
use super::state::State;
use super::{packages, services};
use crate::problem::Problem;
use crate::process::{ask, is_root, need_root, privileged, run, which};

pub(super) const SOCKET: &str = "/var/run/docker.sock";
const VERSION: [&str; 3] = ["version", "--format", "{{.Server.Version}}"];

pub(super) fn ensure(state: &State) -> Outcome {
    if let Some(version) = engine() {
        return Ok(Ready::found(format!("engine {version}")));
    }
    if let Ok(host) = std::env::var("DOCKER_HOST") {
        return Err(Problem::new(format!("no engine answers at DOCKER_HOST={host}"))
            .advise("start that engine, or unset DOCKER_HOST"));
    }
    need_root("starting the engine")?;
    let installed =
        !packages::ensure(state, &[("dockerd", "docker.io"), ("iptables", "iptables"), ("ip", "iproute2")])?
            .is_empty();
    // Newer suites have the client in a package of its own.
    packages::ensure(state, &[("docker", "docker-cli")])?;

    if Path::new("/run/systemd/system").exists() {
        run(privileged("systemctl").args(["enable", "--now", "docker"]), &state.log("docker"))?;
    } else if !answers_root() {
        start_by_hand(state)?;
    }
    if engine().is_none() {
        open_to_this_user(state, installed)?;
    }
    let version = engine().ok_or_else(|| {
        Problem::new("the engine runs, but the client gets no answer").with_log(&state.log("docker"))
    })?;
    Ok(Ready::new(installed, format!("engine {version}")))
}

/// The engine's version, if it answers this user.
fn engine() -> Option<String> {
    ask("docker", &VERSION)
}

fn answers_root() -> bool {
    privileged("docker").args(VERSION).output().is_ok_and(|output| output.status.success())
}

fn start_by_hand(state: &State) -> Result<(), Problem> {
    let dockerd = which("dockerd").ok_or_else(|| Problem::new("dockerd was not found"))?;
    let command = privileged(&dockerd.to_string_lossy());
    services::start(state, "docker", &command, answers_root).map_err(|problem| {
        problem.advise("a container without the rights for Docker needs --privileged, or the host's socket")
    })
}

/// Gives the user who ran setup access to an engine that setup installed; another engine's access is not ours to
/// change.
fn open_to_this_user(state: &State, installed: bool) -> Result<(), Problem> {
    if is_root() || !answers_root() {
        return Ok(());
    }
    if !installed && !services::running(state).iter().any(|name| name == "docker") {
        return Err(Problem::new("the engine runs, but answers to other users only")
            .advise("`sudo usermod -aG docker $USER`, then log in again"));
    }
    packages::ensure(state, &[("setfacl", "acl")])?;
    let user = ask("id", &["-un"]).ok_or_else(|| Problem::new("this user has no name"))?;
    let mut grant: Command = privileged("setfacl");
    run(grant.args(["--modify", &format!("user:{user}:rw"), SOCKET]), &state.log("docker"))
}
