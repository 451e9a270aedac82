//! Servers that setup starts: in a session of their own, so that they outlive it, and stopped by a record.
//!
//! The record is a file `run/NAME.pid` with the process id and its start time, because ids are reused.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::state::State;
use crate::problem::Problem;
use crate::process::{self, open_log, privileged};

/// The polling interval for a server that is starting or stopping, which offers no event to wait for.
const PAUSE: Duration = Duration::from_millis(50);
const START_DEADLINE: Duration = Duration::from_mins(1);
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Starts `command` and waits until `is_ready`.
pub(super) fn start(
    state: &State,
    name: &str,
    command: &Command,
    is_ready: impl Fn() -> bool,
) -> Result<(), Problem> {
    let log = state.log(name);
    let output = open_log(&log, command)?;
    let errors = output.try_clone().map_err(|error| Problem::io("cannot write", &log, &error))?;
    let program = process::name(command);
    // setsid executes the program in its own process, so the child's id is the server's.
    let mut child = Command::new("setsid")
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(key, value)| value.map(|value| (key, value))))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|error| process::not_started(&program, &error))?;
    record(state, name, child.id())?;

    let started = Instant::now();
    while !is_ready() {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(Problem::new(format!("{program} ended at once ({status})")).with_log(&log));
        }
        if started.elapsed() > START_DEADLINE {
            let seconds = START_DEADLINE.as_secs();
            return Err(Problem::new(format!("{program} does not answer after {seconds} s")).with_log(&log));
        }
        sleep(PAUSE);
    }
    Ok(())
}

/// The services that setup started and that are still running.
pub(super) fn running(state: &State) -> Vec<String> {
    let entries = fs::read_dir(state.run_dir()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".pid").map(str::to_owned))
        .filter(|name| recorded(state, name).is_some())
        .collect();
    names.sort();
    names
}

/// Stops a service if setup started it, and waits until it is gone. Returns whether there was one.
pub(super) fn stop(state: &State, name: &str) -> Result<bool, Problem> {
    let Some(id) = recorded(state, name) else { return Ok(false) };
    let is_ours = fs::metadata(format!("/proc/{id}"))
        .is_ok_and(|process| fs::metadata("/proc/self").is_ok_and(|me| me.uid() == process.uid()));
    let mut kill = if is_ours { Command::new("kill") } else { privileged("kill") };
    process::run(kill.arg(id.to_string()), &state.log(name))?;
    let asked = Instant::now();
    while recorded(state, name).is_some() {
        if asked.elapsed() > STOP_DEADLINE {
            let seconds = STOP_DEADLINE.as_secs();
            return Err(Problem::new(format!("{name} (process {id}) still runs after {seconds} s"))
                .with_log(&state.log(name)));
        }
        sleep(PAUSE);
    }
    let record = record_path(state, name);
    fs::remove_file(&record).map_err(|error| Problem::io("cannot remove", &record, &error))?;
    Ok(true)
}

/// The status of a GET over plain HTTP, or `None` if nothing answers.
pub(super) fn http_status(address: &str, path: &str) -> Option<u16> {
    let address: SocketAddr = address.parse().ok()?;
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: */*\r\n\r\n").ok()?;
    // "HTTP/1.1 200": the status ends at the twelfth byte.
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head).ok()?.split(' ').nth(1)?.parse().ok()
}

/// Whether anything at all listens there.
pub(super) fn is_taken(address: &str) -> bool {
    address
        .parse::<SocketAddr>()
        .is_ok_and(|address| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
}

pub(super) fn port_problem(address: &str, wanted: &str) -> Problem {
    Problem::new(format!("{address} is taken by something that is not {wanted}"))
        .advise(format!("stop what listens on {address} (`ss -ltnp` shows it)"))
}

fn record_path(state: &State, name: &str) -> PathBuf {
    state.run_dir().join(format!("{name}.pid"))
}

fn record(state: &State, name: &str, id: u32) -> Result<(), Problem> {
    let path = record_path(state, name);
    let time = start_time(id).unwrap_or_default();
    fs::write(&path, format!("{id} {time}")).map_err(|error| Problem::io("cannot write", &path, &error))
}

/// The process id of a service that setup started and that is still running.
fn recorded(state: &State, name: &str) -> Option<u32> {
    let text = fs::read_to_string(record_path(state, name)).ok()?;
    let (id, time) = text.split_once(' ')?;
    let id = id.parse().ok()?;
    (start_time(id)? == time).then_some(id)
}

/// When a process started, in the kernel's own unit; `None` once it has ended.
fn start_time(id: u32) -> Option<String> {
    let stat = fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).ok()?;
    // The program's name in parentheses may contain spaces; the fields after it don't. The state is the first of them,
    // the start time the twentieth.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let has_ended = matches!(fields.first(), Some(&("Z" | "X")));
    fields.get(19).filter(|_| !has_ended).map(ToString::to_string)
}
