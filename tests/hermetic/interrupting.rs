//! The first interrupt ends a command that is waiting for somebody else.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lifeboat_tests::command::{lifeboat, run};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};

const SIGN: &str = env!("CARGO_BIN_EXE_tested-sign");
const VERIFY: &str = env!("CARGO_BIN_EXE_tested-verify");

/// Commands that read files first: `PIPE` is one without a writer.
const WAITING: &[(&str, &[&str])] = &[
    (VERIFY, &["blob", "PIPE", "--bundle", "none.json", "--key", "release.pub"]),
    (VERIFY, &["blob", "release.pub", "--bundle", "PIPE", "--key", "release.pub"]),
    (VERIFY, &["blob", "release.pub", "--bundle", "none.json", "--key", "PIPE"]),
    (
        VERIFY,
        &["blob", "release.pub", "--bundle", "none.json", "--key", "release.pub", "--trusted-root", "PIPE"],
    ),
    (VERIFY, &["snapshot", "latest", "--repository", "absent", "--root", "0", "--checkpoint", "PIPE"]),
    (VERIFY, &["replay", "PIPE"]),
    (SIGN, &["blob", "PIPE", "--bundle", "out.json", "--key", "release.key"]),
    (SIGN, &["blob", "release.pub", "--bundle", "out.json", "--key", "PIPE"]),
];

#[test]
fn a_file_that_nobody_writes_to_is_waited_for_until_the_first_interrupt() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    mknodat(CWD, at("PIPE"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let mut keygen = lifeboat(SIGN, folder.path(), ["keygen", "release"]);
    run(keygen.current_dir(folder.path()).env("COSIGN_PASSWORD", "correct horse")).expect_code(0);
    for (binary, args) in WAITING {
        let mut command = lifeboat(binary, folder.path(), *args);
        command.current_dir(folder.path()).env("COSIGN_PASSWORD", "correct horse");
        let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The other end can be opened once the program has opened its own, and not before.
        let began = Instant::now();
        let other_end: File = loop {
            let opened = File::options()
                .write(true)
                .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap())
                .open(at("PIPE"));
            match opened {
                Ok(opened) => break opened,
                Err(_) if began.elapsed() < Duration::from_mins(1) => std::thread::yield_now(),
                Err(error) => panic!("{args:?}: the file was never opened: {error}"),
            }
        };
        kill_process(Pid::from_child(&waiting), Signal::INT).unwrap();
        let said = waiting.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(130), "{args:?}: {text}");
        assert!(text.contains("interrupted before "), "{args:?}: {text}");
        drop(other_end);
    }
}
