//! Runs external programs that hold keys or passwords: with one deadline for everything that such a program does, no
//! processes left behind, and none of our secrets in its environment.

use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// The variables that hold our own passphrases.
const SECRET_VARIABLES: [&str; 2] = ["COSIGN_PASSWORD", "LIFEBOAT_PASSPHRASE"];

/// The largest answer of a command, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// More of a program's error output than this is useless.
const MAX_WORDS_BYTES: usize = 4096;

/// How long to wait for the last output of a command that has ended. Its output is in the pipe already; only a process
/// that it left behind keeps the pipe open longer.
const GRACE: Duration = Duration::from_millis(500);

/// How often to check whether a command has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Why a program gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    /// The reason in words, with the program's output on standard error.
    pub reason: String,
    /// What it printed on standard output before it failed. This may be a secret.
    pub printed: Vec<u8>,
}

impl From<String> for NoAnswer {
    fn from(reason: String) -> Self {
        Self { reason, printed: Vec::new() }
    }
}

/// Runs a program with `input` on its standard input, and returns what it printed, at most 64 KiB. Blocks until the
/// program has ended, `timeout` has passed or `is_cancelled` returns true.
///
/// The program runs in a process group of its own, which is always killed at the end. Our passphrases are removed from
/// its environment: it has secrets of its own.
///
/// # Errors
///
/// If the program cannot be started, fails, prints too much, takes too long or is cancelled.
pub fn ask(
    program: &Path,
    args: &[&str],
    input: &[u8],
    timeout: Duration,
    is_cancelled: impl Fn() -> bool,
) -> Result<Vec<u8>, NoAnswer> {
    let deadline = Instant::now() + timeout;
    let mut command = Command::new(program);
    for secret in SECRET_VARIABLES {
        command.env_remove(secret);
    }
    let child = command
        .args(args)
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let mut group = Group { child, has_ended: false };
    if let Some(mut pipe) = group.child.stdin.take() {
        let input = input.to_vec();
        // A program that does not read blocks only this thread; one that ends without reading is judged by its exit.
        thread::spawn(move || drop(pipe.write_all(&input)));
    }
    let answer = Pipe::read(group.child.stdout.take(), MAX_ANSWER_BYTES);
    let said = Pipe::read(group.child.stderr.take(), MAX_WORDS_BYTES);
    while !group.has_ended().map_err(|error| error.to_string())? {
        if answer.is_too_long() {
            return Err(format!("it printed more than {MAX_ANSWER_BYTES} bytes").into());
        }
        if is_cancelled() {
            return Err("it was interrupted".to_owned().into());
        }
        if Instant::now() >= deadline {
            return Err(format!("it gave no answer within {} s", timeout.as_secs()).into());
        }
        thread::sleep(PAUSE);
    }
    let status = group.end().map_err(|error| error.to_string())?;
    judge(status, &answer.text(deadline), &said.text(deadline))
}

fn judge(status: ExitStatus, answer: &[u8], said: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(format!("it printed more than {MAX_ANSWER_BYTES} bytes").into());
    }
    if status.success() {
        return Ok(answer.to_vec());
    }
    let said: String =
        String::from_utf8_lossy(said).trim().chars().take(400).flat_map(char::escape_debug).collect();
    let reason = match &said[..] {
        "" => format!("it ended with {status}"),
        said => format!("it ended with {status}: {said}"),
    };
    Err(NoAnswer { reason, printed: answer.to_vec() })
}

/// A process and all processes that it started.
struct Group {
    child: Child,
    has_ended: bool,
}

impl Group {
    fn leader(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Whether the leader has ended. It is not reaped yet, because its process id is that of the group.
    fn has_ended(&self) -> io::Result<bool> {
        let Some(leader) = self.leader() else { return Ok(true) };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(leader), options)?.is_some())
    }

    /// Kills all of it.
    fn end(&mut self) -> io::Result<ExitStatus> {
        // There may be no process left.
        let _ = self.leader().map(|leader| kill_process_group(leader, Signal::KILL));
        self.has_ended = true;
        self.child.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.has_ended {
            let _ = self.end();
        }
    }
}

/// The output of a pipe, at most one byte more than is wanted. The rest is read and dropped.
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    cap: usize,
    reader: JoinHandle<()>,
}

impl Pipe {
    fn read(pipe: Option<impl Read + Send + 'static>, cap: usize) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = [0; 4096];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) => {
                        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                        let left = (cap + 1).saturating_sub(kept.len()).min(count);
                        kept.extend_from_slice(&buffer[..left]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        Self { bytes, cap, reader }
    }

    fn is_too_long(&self) -> bool {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).len() > self.cap
    }

    /// The output, once nobody can write any more or the deadline has passed.
    fn text(self, deadline: Instant) -> Vec<u8> {
        let until = (Instant::now() + GRACE).min(deadline);
        while !self.reader.is_finished() && Instant::now() < until {
            thread::sleep(PAUSE);
        }
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Runs a shell script, and returns how long it took.
    fn asked(script: &str, timeout: Duration) -> (Result<String, String>, Duration) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("command");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let started = Instant::now();
        let answer = ask(&program, &["public-key"], b"", timeout, || false);
        let answer = answer.map(|bytes| String::from_utf8(bytes).unwrap());
        (answer.map_err(|error| error.reason), started.elapsed())
    }

    fn lives(pid: &str) -> bool {
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        !state.is_empty() && !state.contains(") Z ")
    }

    #[test]
    fn an_answer_is_what_was_printed_and_a_failure_says_why() {
        let long = Duration::from_mins(1);
        assert_eq!(asked("echo $1", long).0.unwrap(), "public-key\n");
        assert!(asked("echo no token >&2; exit 3", long).0.unwrap_err().ends_with(": no token"));
        assert!(asked("kill -9 $$", long).0.unwrap_err().contains("signal"));
        assert!(asked("head -c 70000 /dev/zero", long).0.unwrap_err().starts_with("it printed more than"));
        assert!(
            asked("while :; do echo more; done", long).0.unwrap_err().starts_with("it printed more than")
        );
        let missing = ask(Path::new("./absent"), &[], b"", long, || false).unwrap_err().reason;
        assert!(missing.starts_with("it cannot be started"), "{missing}");
    }

    #[test]
    fn one_deadline_holds_for_all_that_a_command_does() {
        let short = Duration::from_secs(1);
        for script in [
            "exec sleep 60",
            "echo key; exec >&-; sleep 60",
            "echo key; exec >&- 2>&-; sleep 60",
            "trap '' TERM; sleep 60",
        ] {
            let (answer, took) = asked(script, short);
            assert_eq!(answer.unwrap_err(), "it gave no answer within 1 s", "{script}");
            assert!(took < Duration::from_secs(20), "{script}: {took:?}");
        }
    }

    #[test]
    fn what_a_command_leaves_behind_is_ended_and_waited_for_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        for agent in ["sleep 300 &", "sleep 300 >&2 &", "(trap '' HUP TERM; sleep 300) &"] {
            let script = format!("{agent} echo $! >{}; echo key", pid.display());
            let (answer, took) = asked(&script, Duration::from_mins(1));
            assert_eq!(answer.unwrap(), "key\n", "{agent}");
            assert!(took < Duration::from_secs(20), "{agent}: {took:?}");
            assert!(!lives(&fs::read_to_string(&pid).unwrap()), "{agent}");
        }
        // A process that left the group delays nobody.
        let (answer, took) = asked("setsid sleep 3 & echo key", Duration::from_mins(1));
        assert_eq!(answer.unwrap(), "key\n");
        assert!(took < Duration::from_secs(3), "{took:?}");
        // A program that times out is killed with everything that it started.
        let script = format!("sleep 300 & echo $! >{}; wait", pid.display());
        asked(&script, Duration::from_secs(1)).0.unwrap_err();
        assert!(!lives(&fs::read_to_string(&pid).unwrap()));
    }

    #[test]
    fn an_interrupt_ends_the_command() {
        let program = Path::new("/bin/sleep");
        let answer = ask(program, &["60"], b"", Duration::from_mins(1), || true);
        assert_eq!(answer.unwrap_err().reason, "it was interrupted");
    }

    #[test]
    fn what_is_asked_goes_in_and_what_reads_nothing_ends_all_the_same() {
        let cat = ask(Path::new("/bin/cat"), &[], b"registry.example", Duration::from_mins(1), || false);
        assert_eq!(cat.unwrap(), b"registry.example");
        let large = vec![b'x'; 1 << 20];
        let deaf = ask(Path::new("/bin/echo"), &["deaf"], &large, Duration::from_mins(1), || false);
        assert_eq!(deaf.unwrap(), b"deaf\n");
        // The output before a failure is kept separate from the error text.
        let args = ["-c", "echo out; echo err >&2; exit 1"];
        let failed = ask(Path::new("/bin/sh"), &args, b"", Duration::from_mins(1), || false).unwrap_err();
        assert_eq!(failed.printed, b"out\n");
        assert!(failed.reason.ends_with(": err"), "{}", failed.reason);
    }
}
