//! Notices Ctrl-C although the demo itself ignores it.
//!
//! A watcher that sleeps in the same group of processes does not ignore it: when it is gone, the user wants to stop. It
//! also ends by itself once the demo has ended in whatever way, because it waits for the end of a pipe from the demo.

use std::cell::RefCell;
use std::process::{Child, Command, Stdio};

use crate::problem::Problem;
use crate::process::not_started;

/// Makes a command's process take Ctrl-C and a lost terminal as usual, whatever the demo does with them.
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
        // It has nothing more to wait for and ends at once.
        let _ = child.wait();
    }
}
