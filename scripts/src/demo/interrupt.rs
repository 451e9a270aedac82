//! Notices Ctrl-C although the demo itself ignores it.
//!
//! A watcher that sleeps in the same process group does not ignore it: when the watcher is gone, the user wants to
//! stop. It also ends when the demo ends, in whatever way, because it reads from a pipe that the demo holds open.

use std::cell::RefCell;
use std::process::{Child, Command, Stdio};

use crate::problem::Problem;
use crate::process::not_started;

/// Makes a command react to Ctrl-C and a lost terminal as usual, although the demo ignores them.
pub(super) fn interruptible() -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,HUP");
    command
}

#[derive(Debug)]
pub(super) struct Watcher(RefCell<Child>);

impl Watcher {
    pub(super) fn start() -> Result<Self, Problem> {
        let child = interruptible().arg("cat").stdin(Stdio::piped()).spawn();
        child.map(RefCell::new).map(Self).map_err(|error| not_started("cat", &error))
    }

    pub(super) fn saw_interruption(&self) -> bool {
        matches!(self.0.borrow_mut().try_wait(), Ok(Some(_)))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let child = self.0.get_mut();
        drop(child.stdin.take());
        // It has nothing left to wait for and ends at once.
        let _ = child.wait();
    }
}
