//! Running other programs: found on the machine, logged to a file, with the rights that they need.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::problem::Problem;

/// Where Debian keeps programs for root, often absent from a user's PATH.
const ROOT_DIRS: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Finds a program on the PATH, or among those for root.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(ROOT_DIRS.split(':'))
        .filter(|dir| !dir.is_empty())
        .map(|dir| Path::new(dir).join(program))
        .find(|candidate| is_executable(candidate))
}

pub(crate) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0)
}

pub(crate) fn is_root() -> bool {
    // The owner of /proc/self is this process's effective user.
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A command that runs as root: directly if this process is root, otherwise through sudo, which must not ask.
pub(crate) fn privileged(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program);
    command
}

/// Fails unless `privileged` can work.
pub(crate) fn need_root(what_for: &str) -> Result<(), Problem> {
    if is_root() || ask("sudo", &["-n", "true"]).is_some() {
        return Ok(());
    }
    Err(Problem::new(format!("{what_for} needs root"))
        .advise("run this as root, or with a sudo that does not ask for a password"))
}

/// Runs a command to its end; its output goes to the log, and a failure shows the log's end.
pub(crate) fn run(command: &mut Command, log: &Path) -> Result<(), Problem> {
    let output = open_log(log, command)?;
    let errors = output.try_clone().map_err(|error| Problem::io("cannot write", log, &error))?;
    let status = command.stdin(Stdio::null()).stdout(output).stderr(errors).status();
    let program = name(command);
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Problem::new(format!("{program} failed ({status})")).with_log(log)),
        Err(error) => Err(not_started(&program, &error)),
    }
}

/// The output of a quick command, or `None` if it fails or takes more than 20 seconds.
pub(crate) fn ask(program: &str, args: &[&str]) -> Option<String> {
    let output =
        Command::new("timeout").arg("20").arg(program).args(args).stdin(Stdio::null()).output().ok()?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(answer)
}

pub(crate) fn not_started(program: &str, error: &std::io::Error) -> Problem {
    Problem::new(format!("{program} cannot be started: {error}"))
}

/// Opens a log for appending and notes the command there.
pub(crate) fn open_log(log: &Path, command: &Command) -> Result<File, Problem> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|error| Problem::io("cannot write", log, &error))?;
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    writeln!(file, "\n$ {} {}", command.get_program().to_string_lossy(), args.join(" "))
        .map_err(|error| Problem::io("cannot write", log, &error))?;
    Ok(file)
}

pub(crate) fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}
