//! Two OCI registries on loopback: Debian's, without the referrers API, and a small one of ours with it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::part::{Outcome, Ready};
use super::services::{self, http_status};
use super::state::State;
use super::{packages, tools};
use crate::problem::Problem;
use crate::process::which;

pub(crate) const PLAIN: &str = "127.0.0.1:5000";
pub(super) const REFERRERS: &str = "127.0.0.1:5001";

pub(super) fn ensure_plain(state: &State) -> Outcome {
    if is_registry(PLAIN) {
        return Ok(Ready::found(PLAIN));
    }
    if services::is_taken(PLAIN) {
        return Err(services::port_problem(PLAIN, "an OCI registry"));
    }
    let program = state.program("docker-registry");
    let installed = !program.is_file();
    if installed {
        // Unpacked, not installed: the package would start a service on every interface.
        let scratch = state.scratch("registry")?;
        packages::unpack(state, "docker-registry", scratch.path())?;
        move_file(&scratch.path().join("usr/bin/docker-registry"), &program)?;
    }
    let config = state.dir("data")?.join("registry.yml");
    let text = plain_config(&state.dir("data/registry")?);
    fs::write(&config, text).map_err(|error| Problem::io("cannot write", &config, &error))?;
    let mut command = Command::new(&program);
    command.arg("serve").arg(&config);
    services::start(state, "registry", &command, || is_registry(PLAIN))?;
    Ok(Ready::new(installed, PLAIN))
}

fn plain_config(dir: &Path) -> String {
    let dir = dir.to_string_lossy().replace('\'', "''");
    format!(
        "version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: '{dir}'}}
  delete: {{enabled: true}}
http: {{addr: '{PLAIN}'}}
"
    )
}

/// Builds the registry from `scripts/referrers-registry`; a changed source is rebuilt and restarted.
pub(super) fn ensure_with_referrers(state: &State) -> Outcome {
    if which("go").is_none() && is_registry(REFERRERS) {
        return Ok(Ready::found(REFERRERS));
    }
    let installed = tools::go_build(state, "referrers-registry")?;
    if installed {
        services::stop(state, "referrers-registry")?;
    }
    if is_registry(REFERRERS) {
        return Ok(Ready::found(REFERRERS));
    }
    if services::is_taken(REFERRERS) {
        return Err(services::port_problem(REFERRERS, "an OCI registry"));
    }
    let mut command = Command::new(state.program("referrers-registry"));
    command.args(["-listen", REFERRERS, "-blobs"]).arg(state.dir("data/referrers-registry")?);
    services::start(state, "referrers-registry", &command, || is_registry(REFERRERS))?;
    Ok(Ready::new(installed, REFERRERS))
}

fn is_registry(address: &str) -> bool {
    http_status(address, "/v2/") == Some(200)
}

/// Whether the plain registry holds an image under this name and tag.
pub(super) fn holds(name: &str, tag: &str) -> bool {
    // Uses curl, for the Accept header: without it an old registry converts what it stores.
    let url = format!("http://{PLAIN}/v2/{name}/manifests/{tag}");
    let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
    Command::new("curl")
        .args(["--silent", "--fail", "--head", "--output", "/dev/null", "--max-time", "10"])
        .args(["--header", accept, &url])
        .status()
        .is_ok_and(|status| status.success())
}

fn move_file(from: &Path, to: &Path) -> Result<(), Problem> {
    fs::rename(from, to).map_err(|error| Problem::io("cannot make", to, &error))
}
