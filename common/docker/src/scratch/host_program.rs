//! Programs of this host that a drill calls where the kernel has no better interface: packet filter, file systems.

use std::io;
use std::process::Output;

use tokio::process::Command;

/// Where the programs are if the search path lacks the folder, as under cron.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// How much of a program's output is shown, in characters.
const MOST_SAID: usize = 300;

/// Runs `program` to its end.
async fn ask(program: &str, args: &[&str]) -> io::Result<Output> {
    let run =
        |program: String| async move { Command::new(program).args(args).kill_on_drop(true).output().await };
    let mut answer = run(program.to_owned()).await;
    for folder in FOLDERS {
        match &answer {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                answer = run(format!("{folder}/{program}")).await;
            }
            _ => break,
        }
    }
    answer
}

/// Runs `program`, which must succeed. Returns its output, or a description of the failure; `what` names the call in
/// it.
pub(super) async fn call(program: &str, args: &[&str], what: &str) -> Result<String, String> {
    let output = ask(program, args).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("`{program}` is not on this host"),
        _ => format!("`{program}` cannot be started: {error}"),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(MOST_SAID).collect();
    Err(format!("`{program} {what}` failed: {said}"))
}
