//! Runs a binary on a terminal, with someone who types.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::command::Output;

/// Runs `command` on a separate terminal, where each of `lines` is typed. Its output to either stream is returned in
/// `stdout`, as a terminal shows it.
///
/// # Panics
/// When `script`, which has the terminal, cannot be started.
pub fn run_on_terminal(command: &Command, lines: &[&str]) -> Output {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<_> =
        words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--echo", "never", "--command", &quoted.join(" "), "/dev/null"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = script.spawn().unwrap_or_else(|error| panic!("script does not start: {error}"));
    let mut keyboard = child.stdin.take().expect("it is piped");
    for line in lines {
        // A program that asks less has ended, and is judged by its output.
        let _ = writeln!(keyboard, "{line}");
    }
    drop(keyboard);
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("script does not end: {error}"));
    Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).replace('\r', ""),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
