//! Object stores on loopback besides `MinIO`: a second S3 server, Google's and Azure's protocols.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::minio::{REGION, put_bucket};
use super::part::{Outcome, Ready};
use super::services::{self, http_status};
use super::state::State;
use super::{packages, tools};
use crate::problem::Problem;
use crate::process::{ask, run, which};

pub(super) const VERSITYGW: &str = "127.0.0.1:7070";
pub(super) const GCS: &str = "127.0.0.1:4443";
pub(super) const AZURITE: &str = "127.0.0.1:10000";
/// The bucket, or container, in each of them.
pub(super) const BUCKET: &str = "lifeboat-test";
/// Public, and good for nothing but a test server on loopback.
pub(super) const VERSITYGW_KEY: &str = "lifeboat-test";
pub(super) const VERSITYGW_SECRET: &str = "lifeboat-test-secret";
/// The account of every emulator, with the key that Microsoft published for it.
pub(super) const AZURITE_ACCOUNT: &str = "devstoreaccount1";
pub(super) const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const AZURITE_VERSION: &str = "3.37.0";

pub(super) fn ensure_versitygw(state: &State) -> Outcome {
    packages::ensure(state, &[("curl", "curl")])?;
    let make_bucket =
        || put_bucket("versitygw", VERSITYGW, BUCKET, (VERSITYGW_KEY, VERSITYGW_SECRET), REGION);
    // It refuses unsigned requests with an S3 error.
    let is_ready = || matches!(http_status(VERSITYGW, "/"), Some(200 | 403));
    if is_ready() {
        make_bucket()?;
        return Ok(Ready::found(VERSITYGW));
    }
    if services::is_taken(VERSITYGW) {
        return Err(services::port_problem(VERSITYGW, "versitygw"));
    }
    let installed = tools::go_install(state, &tools::VERSITYGW)?;
    let mut command = Command::new(state.program("versitygw"));
    command.args(["--port", VERSITYGW, "posix"]).arg(state.dir("data/versitygw")?);
    command.env("ROOT_ACCESS_KEY", VERSITYGW_KEY).env("ROOT_SECRET_KEY", VERSITYGW_SECRET);
    services::start(state, "versitygw", &command, is_ready)?;
    make_bucket()?;
    Ok(Ready::new(installed, VERSITYGW))
}

/// Builds the server from `scripts/gcs-server`; a changed source is rebuilt and restarted. It creates its bucket.
pub(super) fn ensure_gcs(state: &State) -> Outcome {
    let installed = tools::go_build(state, "gcs-server")?;
    if installed {
        services::stop(state, "gcs-server")?;
    }
    if is_gcs() {
        return Ok(Ready::found(GCS));
    }
    if services::is_taken(GCS) {
        return Err(services::port_problem(GCS, "a Google Cloud Storage server"));
    }
    let mut command = Command::new(state.program("gcs-server"));
    command.args(["-listen", GCS, "-bucket", BUCKET]);
    services::start(state, "gcs-server", &command, is_gcs)?;
    Ok(Ready::new(installed, GCS))
}

fn is_gcs() -> bool {
    http_status(GCS, &format!("/storage/v1/b/{BUCKET}")) == Some(200)
}

/// A Node program, installed with npm into a folder of its own.
pub(super) fn ensure_azurite(state: &State) -> Outcome {
    let node = which("node").filter(|_| which("npm").is_some()).ok_or_else(|| {
        Problem::new("Node.js with npm is not installed")
            .advise("install Node.js 22 or newer, then run setup again")
    })?;
    if is_azurite() {
        ensure_container(&node)?;
        return Ok(Ready::found(AZURITE));
    }
    if services::is_taken(AZURITE) {
        return Err(services::port_problem(AZURITE, "Azurite"));
    }
    let installed = !state.is_installed("azurite-blob", AZURITE_VERSION);
    if installed {
        let home = state.dir("azurite")?;
        let mut install = Command::new("npm");
        install.args(["install", "--no-audit", "--no-fund", "--global", "--prefix"]).arg(&home);
        run(install.arg(format!("azurite@{AZURITE_VERSION}")), &state.log("azurite"))?;
        let program = state.program("azurite-blob");
        let _ = fs::remove_file(&program);
        symlink(home.join("bin/azurite-blob"), &program)
            .map_err(|error| Problem::io("cannot make", &program, &error))?;
        state.note_installed("azurite-blob", AZURITE_VERSION)?;
    }
    let (host, port) = AZURITE.split_once(':').unwrap_or((AZURITE, ""));
    let mut command = Command::new(state.program("azurite-blob"));
    command.args([
        "--silent",
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--blobHost",
        host,
        "--blobPort",
        port,
    ]);
    command.arg("--location").arg(state.dir("data/azurite")?);
    services::start(state, "azurite", &command, is_azurite)?;
    ensure_container(&node)?;
    Ok(Ready::new(installed, AZURITE))
}

/// It refuses unsigned requests.
fn is_azurite() -> bool {
    matches!(http_status(AZURITE, "/devstoreaccount1?comp=list"), Some(400 | 403))
}

fn ensure_container(node: &Path) -> Result<(), Problem> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("azurite-container.mjs");
    let endpoint = azurite_endpoint();
    let (node, script) = (node.to_string_lossy(), script.to_string_lossy());
    let status = ask(&node, &[&script, &endpoint, AZURITE_ACCOUNT, AZURITE_KEY, BUCKET]);
    match status.as_deref() {
        // 409: the container exists.
        Some("201" | "409") => Ok(()),
        other => Err(Problem::new(format!(
            "Azurite does not make the container {BUCKET}: it answers {}",
            other.unwrap_or("nothing")
        ))),
    }
}

pub(super) fn azurite_endpoint() -> String {
    format!("http://{AZURITE}/{AZURITE_ACCOUNT}")
}
