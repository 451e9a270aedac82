//! Programs built from source at pinned versions, into our own folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::packages;
use super::part::{Outcome, Ready};
use super::state::State;
use crate::problem::Problem;
use crate::process::{ask, run, which};

/// A Go program: its package, and its name here.
#[derive(Debug)]
pub(super) struct GoTool {
    name: &'static str,
    package: &'static str,
    version: &'static str,
}

pub(super) const MINIO: GoTool = GoTool {
    name: "minio",
    package: "github.com/minio/minio",
    version: "v0.0.0-20260212201848-7aac2a2c5b7c",
};
pub(super) const VERSITYGW: GoTool =
    GoTool { name: "versitygw", package: "github.com/versity/versitygw/cmd/versitygw", version: "v1.8.0" };
const COSIGN: GoTool =
    GoTool { name: "cosign", package: "github.com/sigstore/cosign/v3/cmd/cosign", version: "v3.1.3" };
const COSIGN_2: GoTool =
    GoTool { name: "cosign2", package: "github.com/sigstore/cosign/v2/cmd/cosign", version: "v2.6.5" };
const FULCIO: GoTool = GoTool { name: "fulcio", package: "github.com/sigstore/fulcio", version: "v1.8.8" };
const REKOR: GoTool = GoTool {
    name: "rekor-server",
    package: "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix",
    version: "v2.3.0",
};
const TIMESTAMP_SERVER: GoTool = GoTool {
    name: "timestamp-server",
    package: "github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server",
    version: "v2.1.2",
};
const SYFT: GoTool = GoTool { name: "syft", package: "github.com/anchore/syft/cmd/syft", version: "v1.57.0" };
const CRANE: GoTool =
    GoTool { name: "crane", package: "github.com/google/go-containerregistry/cmd/crane", version: "v0.22.1" };
const ORAS: GoTool = GoTool { name: "oras", package: "oras.land/oras/cmd/oras", version: "v1.3.0" };
const AGE: GoTool = GoTool { name: "age", package: "filippo.io/age/cmd/age", version: "v1.3.2" };
const AGE_KEYGEN: GoTool =
    GoTool { name: "age-keygen", package: "filippo.io/age/cmd/age-keygen", version: "v1.3.2" };
/// A plugin that holds post-quantum keys, and one that reads passphrases from the environment.
const AGE_PLUGINS: [GoTool; 2] = [
    GoTool { name: "age-plugin-pq", package: "filippo.io/age/extra/age-plugin-pq", version: "v1.3.2" },
    GoTool {
        name: "age-plugin-batchpass",
        package: "filippo.io/age/cmd/age-plugin-batchpass",
        version: "v1.3.2",
    },
];
const CARGO_DENY: &str = "0.20.2";
const CARGO_MUTANTS: &str = "25.3.1";

/// Small Debian tools that tests compare with.
pub(super) fn ensure_file_tools(state: &State) -> Outcome {
    let wanted = [
        ("rsync", "rsync"),
        ("setfattr", "attr"),
        ("setfacl", "acl"),
        ("curl", "curl"),
        ("strace", "strace"),
    ];
    let installed = packages::ensure(state, &wanted)?;
    if installed.is_empty() {
        return Ok(Ready::found("rsync, attr, acl, curl, strace"));
    }
    Ok(Ready::new(true, installed.join(", ")))
}

pub(super) fn ensure_cosign(state: &State) -> Outcome {
    Ok(Ready::installed_or_found(go_install(state, &COSIGN)?, COSIGN.version))
}

pub(super) fn ensure_cosign_2(state: &State) -> Outcome {
    Ok(Ready::installed_or_found(go_install(state, &COSIGN_2)?, COSIGN_2.version))
}

/// Makes SBOMs of images.
pub(super) fn ensure_syft(state: &State) -> Outcome {
    Ok(Ready::installed_or_found(go_install(state, &SYFT)?, SYFT.version))
}

/// A certificate authority for short-lived certificates, which a test starts for itself.
pub(super) fn ensure_fulcio(state: &State) -> Outcome {
    Ok(Ready::installed_or_found(go_install(state, &FULCIO)?, FULCIO.version))
}

/// A transparency log of the second generation, which a test starts for itself.
pub(super) fn ensure_rekor(state: &State) -> Outcome {
    Ok(Ready::installed_or_found(go_install(state, &REKOR)?, REKOR.version))
}

/// A timestamp authority, which a test starts for itself.
pub(super) fn ensure_timestamp_server(state: &State) -> Outcome {
    Ok(Ready::installed_or_found(go_install(state, &TIMESTAMP_SERVER)?, TIMESTAMP_SERVER.version))
}

/// Programs that read images from registries, layouts and archives, each in its own way.
pub(super) fn ensure_crane(state: &State) -> Outcome {
    Ok(Ready::installed_or_found(go_install(state, &CRANE)?, CRANE.version))
}

pub(super) fn ensure_oras(state: &State) -> Outcome {
    Ok(Ready::installed_or_found(go_install(state, &ORAS)?, ORAS.version))
}

/// Two more of those, from the system's packages.
pub(super) fn ensure_containers(state: &State) -> Outcome {
    let installed = packages::ensure(state, &[("skopeo", "skopeo"), ("podman", "podman")])?;
    Ok(Ready::installed_or_found(!installed.is_empty(), "skopeo, podman"))
}

pub(super) fn ensure_age(state: &State) -> Outcome {
    let mut is_installed = false;
    for tool in [&AGE, &AGE_KEYGEN].into_iter().chain(&AGE_PLUGINS) {
        is_installed |= go_install(state, tool)?;
    }
    Ok(Ready::installed_or_found(is_installed, AGE.version))
}

pub(super) fn ensure_cargo_deny(state: &State) -> Outcome {
    ensure_subcommand(state, "deny", CARGO_DENY)
}

pub(super) fn ensure_cargo_mutants(state: &State) -> Outcome {
    ensure_subcommand(state, "mutants", CARGO_MUTANTS)
}

/// Any version of a cargo subcommand on the PATH will do; otherwise the pinned one is built.
fn ensure_subcommand(state: &State, subcommand: &str, pinned: &str) -> Outcome {
    let name = format!("cargo-{subcommand}");
    if which(&name).is_some()
        && let Some(version) = ask("cargo", &[subcommand, "--version"])
    {
        return Ok(Ready::found(version.trim_start_matches(&format!("{name} "))));
    }
    if state.is_installed(&name, pinned) {
        return Ok(Ready::found(pinned));
    }
    let mut install = Command::new("cargo");
    install.args(["install", "--locked", "--force", "--version", pinned, &name, "--root"]);
    // Built in a temporary folder of cargo's, not among this project's own output.
    install.arg(state.root()).env_remove("CARGO_TARGET_DIR");
    run(&mut install, &state.log(&name))?;
    state.note_installed(&name, pinned)?;
    Ok(Ready::new(true, pinned))
}

/// Builds a Go program unless the pinned version is installed; returns whether it did.
pub(super) fn go_install(state: &State, tool: &GoTool) -> Result<bool, Problem> {
    if state.is_installed(tool.name, tool.version) {
        return Ok(false);
    }
    // Go names the program after its package, so it is built elsewhere and then renamed.
    let scratch = state.scratch(&format!("go-{}", tool.name))?;
    let mut install = go("install")?;
    install.env("GOBIN", scratch.path()).arg(format!("{}@{}", tool.package, tool.version));
    run(&mut install, &state.log(tool.name))?;
    let built = scratch.path().join(tool.package.rsplit('/').next().unwrap_or(tool.name));
    let program = state.program(tool.name);
    fs::rename(&built, &program).map_err(|error| Problem::io("cannot make", &program, &error))?;
    state.note_installed(tool.name, tool.version)?;
    Ok(true)
}

/// Builds the Go program in `scripts/NAME` unless it was built from the present sources; returns whether it did.
pub(super) fn go_build(state: &State, name: &str) -> Result<bool, Problem> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let origin = ["go.mod", "go.sum", "main.go"]
        .map(|file| fs::read_to_string(sources.join(file)).unwrap_or_default())
        .concat();
    if state.is_installed(name, &origin) {
        return Ok(false);
    }
    let mut build = go("build")?;
    build.current_dir(&sources).arg("-o").arg(state.program(name)).arg(".");
    run(&mut build, &state.log(name))?;
    state.note_installed(name, &origin)?;
    Ok(true)
}

/// `go VERB` for a program that needs no C compiler and carries no debug information.
fn go(verb: &str) -> Result<Command, Problem> {
    if which("go").is_none() {
        return Err(
            Problem::new("Go is not installed").advise("install Go 1.26 or newer, then run setup again")
        );
    }
    let mut command = Command::new("go");
    command.arg(verb).args(["-trimpath", "-ldflags=-s -w"]).env("CGO_ENABLED", "0");
    Ok(command)
}
