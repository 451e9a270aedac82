//! An S3 server on loopback: `MinIO` with one bucket for the tests.

use std::io::Write;
use std::process::{Command, Stdio};

use super::part::{Outcome, Ready};
use super::services::{self, http_status};
use super::state::State;
use super::{packages, tools};
use crate::problem::Problem;

pub(super) const ADDRESS: &str = "127.0.0.1:7071";
pub(super) const BUCKET: &str = "lifeboat-test";
pub(super) const REGION: &str = "us-east-1";
/// Public, and good for nothing but a test server on loopback.
pub(super) const ACCESS_KEY: &str = "lifeboat-test";
pub(super) const SECRET_KEY: &str = "lifeboat-test-secret";

pub(super) fn ensure(state: &State) -> Outcome {
    packages::ensure(state, &[("curl", "curl")])?;
    if is_ready() {
        ensure_bucket()?;
        return Ok(Ready::found(ADDRESS));
    }
    if services::is_taken(ADDRESS) {
        return Err(services::port_problem(ADDRESS, "MinIO"));
    }
    let installed = tools::go_install(state, &tools::MINIO)?;
    let mut command = Command::new(state.program("minio"));
    command.args(["server", "--quiet", "--address", ADDRESS]).arg(state.dir("data/minio")?);
    command.env("MINIO_ROOT_USER", ACCESS_KEY).env("MINIO_ROOT_PASSWORD", SECRET_KEY);
    // No web console, which would listen on every interface, and no check for a newer version.
    command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
    services::start(state, "minio", &command, is_ready)?;
    ensure_bucket()?;
    Ok(Ready::new(installed, ADDRESS))
}

fn is_ready() -> bool {
    http_status(ADDRESS, "/minio/health/ready") == Some(200)
}

fn ensure_bucket() -> Result<(), Problem> {
    put_bucket("MinIO", ADDRESS, BUCKET, (ACCESS_KEY, SECRET_KEY), REGION)
}

/// Creates a bucket on an S3 server, unless it exists.
pub(super) fn put_bucket(
    server: &str,
    address: &str,
    bucket: &str,
    keys: (&str, &str),
    region: &str,
) -> Result<(), Problem> {
    // 409: the bucket is there and ours.
    match s3_put(&format!("http://{address}/{bucket}"), keys, region).as_deref() {
        Some("200" | "409") => Ok(()),
        Some("403") => Err(services::port_problem(address, &format!("our {server} (it refuses our keys)"))),
        other => Err(Problem::new(format!(
            "{server} does not make the bucket {bucket}: it answers {}",
            other.unwrap_or("nothing")
        ))),
    }
}

/// The SHA-256 of the empty body, which versitygw requires.
const NOTHING: &str =
    "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Sends a signed PUT without a body; returns the status.
fn s3_put(url: &str, (access_key, secret_key): (&str, &str), region: &str) -> Option<String> {
    let mut curl = Command::new("curl")
        .args(["--silent", "--config", "-", "--request", "PUT", "--output", "/dev/null"])
        .args(["--max-time", "20", "--header", NOTHING, "--write-out", "%{http_code}", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let signing = format!("aws-sigv4 = \"aws:amz:{region}:s3\"\nuser = \"{access_key}:{secret_key}\"\n");
    curl.stdin.take()?.write_all(signing.as_bytes()).ok()?;
    let output = curl.wait_with_output().ok()?;
    String::from_utf8(output.stdout).ok()
}
