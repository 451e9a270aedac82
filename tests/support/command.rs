//! Runs a binary and keeps its output.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::documents;

/// The output of a finished process.
#[derive(Debug)]
pub struct Output {
    /// The exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// Standard output, as text.
    pub stdout: String,
    /// Standard error, as text.
    pub stderr: String,
}

/// Runs `command` to its end. The documents that our programs print must match their schemas.
///
/// # Panics
///
/// When the program cannot be started, or a document does not match its schema.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let said = Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    documents::check_said(command, &said);
    said
}

/// A command for the binary at `path` (one of `env!("CARGO_BIN_EXE_tested-…")`) with nothing of the user's Lifeboat
/// or cloud settings in its environment, and its state and cache below `home`.
pub fn lifeboat(path: &str, home: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["LIFEBOAT_", "AWS_", "GOOGLE_", "AZURE_", "COSIGN_"].iter().any(|p| name_text.starts_with(p)) {
            command.env_remove(&name);
        }
    }
    command
        .env("HOME", home)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("XDG_STATE_HOME", home.join("state"));
    command.args(args);
    command
}

impl Output {
    /// The document on standard output.
    ///
    /// # Panics
    ///
    /// When there is none, or it does not match its schema.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let document = serde_json::from_str(&self.stdout);
        let document = document.unwrap_or_else(|error| panic!("{error} in\n{}", self.stdout));
        documents::check(&document);
        document
    }

    /// The documents on standard error, one per line.
    ///
    /// # Panics
    ///
    /// When a line is not a document, or does not match its schema.
    #[must_use]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in\n{line}"));
        let documents: Vec<_> = self.stderr.lines().map(line).collect();
        for document in &documents {
            documents::check(document);
        }
        documents
    }

    /// Fails the test unless the process ended with `code`; returns the output for more checks.
    ///
    /// # Panics
    ///
    /// When the exit code is another.
    #[track_caller]
    #[expect(
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        reason = "often only the code matters"
    )]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "the exit code is not the expected one\nstdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}
