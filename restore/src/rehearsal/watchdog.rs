//! A process that outlives the drill's: if the drill dies without cleaning up, as by `kill -9` or when out of memory,
//! the watchdog stops what the drill started and removes what it left.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lifeboat_core::clock::Clock;
use lifeboat_docker::Engine;

use super::grounds::{Grounds, GroundsError};

/// The verb that runs the program as a watchdog.
pub const VERB: &str = "watchdog";

/// What a drill sends when it has cleaned up.
const DONE: &[u8] = b"done";

/// Pauses between rounds of cleaning up, in seconds: the engine may still be about to carry out its last request.
const PAUSES: [u64; 8] = [1, 2, 4, 8, 15, 30, 60, 120];

/// How many rounds in a row must find nothing before the watchdog ends, and how long after the drill's end the engine
/// may still answer a request.
const QUIET_ROUNDS: usize = 3;
const LAST_CALL: Duration = Duration::from_secs(125);

/// A watchdog that waits for its drill to end. When this is dropped, it cleans up after the drill.
#[derive(Debug)]
pub struct Watchdog(Child);

impl Watchdog {
    /// Starts this very program as a watchdog, detached from the terminal's signals. `variables` become its
    /// environment, which locates the engine and the register.
    pub fn start(variables: Vec<(&'static str, OsString)>) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("lifeboat-restore").arg(VERB).env_clear().envs(variables);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.current_dir("/").spawn().map(Self)
    }

    /// Dismisses it: the drill has left nothing behind.
    pub fn dismiss(mut self) {
        let said = self.0.stdin.take().map(|mut stdin| stdin.write_all(DONE));
        if !matches!(said, Some(Ok(()))) {
            tracing::debug!("the watchdog does not listen");
        }
        let _ = self.0.wait();
    }
}

/// Waits until the drill ends, which closes its end of `word`. Returns whether the drill has cleaned up.
pub fn wait_for_end(word: impl io::Read) -> bool {
    let mut said = Vec::new();
    let read = word.take(DONE.len() as u64).read_to_end(&mut said);
    read.is_ok() && said == DONE
}

/// Cleans up after drills that have died, until nothing more is found.
///
/// # Errors
/// When the grounds cannot be used, or when the engine never answers.
pub async fn clear_away(
    grounds: &Grounds,
    address: Option<&str>,
    clock: &dyn Clock,
) -> Result<(), GroundsError> {
    let (mut dead, mut quiet) = (BTreeSet::new(), 0);
    let began = Instant::now();
    let mut outcome = Ok(());
    for pause in PAUSES {
        let round = async {
            let engine = Engine::connect(address).await?;
            grounds.sweep(Some(&engine), clock.now(), &dead).await
        };
        outcome = match round.await {
            Ok(swept) => {
                let is_quiet = swept.removed == 0 && swept.leftovers.is_empty();
                dead.extend(swept.dead);
                quiet = if is_quiet { quiet + 1 } else { 0 };
                Ok(())
            }
            Err(error) => {
                tracing::warn!("{error}");
                Err(error)
            }
        };
        if quiet >= QUIET_ROUNDS && began.elapsed() > LAST_CALL {
            break;
        }
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_drill_that_says_so_has_cleared_away() {
        assert!(wait_for_end(DONE));
        for word in [&b""[..], b"do", b"dead", b"don\n"] {
            assert!(!wait_for_end(word), "{word:?}");
        }
    }
}
