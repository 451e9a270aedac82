//! A first interrupt ends what waits for somebody else.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lifeboat_tests::command::lifeboat;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};

const VERIFY: &str = env!("CARGO_BIN_EXE_tested-verify");

#[test]
fn a_file_that_nobody_writes_to_is_waited_for_until_the_first_interrupt() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, key) = (folder.path().join("pipe"), folder.path().join("release.pub"));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let pair = lifeboat_trust::key::SigningKey::generate();
    let public = lifeboat_trust::key_file::write_public(lifeboat_trust::key::Sign::verification_key(&pair));
    std::fs::write(&key, public).unwrap();
    let args = ["blob", pipe.to_str().unwrap(), "--bundle", "none.json", "--key", key.to_str().unwrap()];
    let mut command = lifeboat(VERIFY, folder.path(), args);
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The other end can be opened at once when the program has opened its own, and not before.
    let began = Instant::now();
    let other_end: File = loop {
        let opened = File::options()
            .write(true)
            .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap())
            .open(&pipe);
        match opened {
            Ok(opened) => break opened,
            Err(_) if began.elapsed() < Duration::from_mins(1) => std::thread::yield_now(),
            Err(error) => panic!("the file was never opened: {error}"),
        }
    };
    kill_process(Pid::from_child(&waiting), Signal::INT).unwrap();
    let said = waiting.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(130), "{text}");
    assert!(text.contains("interrupted before anything was decided"), "{text}");
    drop(other_end);
}
