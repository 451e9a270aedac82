//! Ends a drill early for reasons other than its user: its deadline, or a lack of space on this host.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::room::{FLOOR, Room};

/// How often the space is checked: a fast disk writes some 100 MiB in this time.
const LOOK: Duration = Duration::from_millis(50);

/// The reason why a drill has to stop, if there is one, and the token that announces it.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
    /// The folders whose disks are watched, each with what must stay free there.
    folders: Arc<Mutex<Vec<(PathBuf, Room)>>>,
}

impl Guard {
    /// A guard of the disks that hold `folders`. Its token is also cancelled with the user's.
    pub(super) fn new(user: &CancellationToken, folders: Vec<PathBuf>) -> Self {
        let folders = folders.into_iter().map(|folder| (folder, FLOOR)).collect();
        Self { token: user.child_token(), reason: Arc::default(), folders: Arc::new(Mutex::new(folders)) }
    }

    /// Watches the disk of fixed size that is mounted at `folder` as well.
    pub(super) fn watch_disk(&self, folder: PathBuf, bytes: u64) {
        self.folders().push((folder, Room::when_full(bytes)));
    }

    fn folders(&self) -> MutexGuard<'_, Vec<(PathBuf, Room)>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancelled when the drill has to stop, for any reason.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Why the drill had to stop, unless the user asked for it.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    fn stop(&self, reason: String) {
        // The first reason counts.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// Stops the drill if one of its disks has less space than [`FLOOR`]; returns whether it has to stop.
    pub(super) fn look(&self) -> bool {
        let folders = self.folders().clone();
        if let Some(reason) =
            folders.iter().find_map(|(folder, floor)| Room::below(folder).ok()?.want(*floor, folder))
        {
            self.stop(reason);
        }
        self.reason().is_some()
    }

    /// Watches until the returned guard is dropped: stops the drill after `deadline`, or when one of its disks has less
    /// space than [`FLOOR`].
    pub(super) fn watch(&self, deadline: Duration) -> DropGuard {
        let (guard, done) = (self.clone(), CancellationToken::new());
        let over = done.clone();
        tokio::spawn(async move {
            let late = tokio::time::sleep(deadline);
            tokio::pin!(late);
            loop {
                tokio::select! {
                    () = over.cancelled() => return,
                    () = &mut late => {
                        guard.stop(format!("The drill took longer than the {} seconds that it may take.", deadline.as_secs()));
                        return;
                    }
                    () = tokio::time::sleep(LOOK) => {
                        let looking = guard.clone();
                        // A network file system may be slow to answer.
                        if let Ok(true) = tokio::task::spawn_blocking(move || looking.look()).await {
                            return;
                        }
                    }
                }
            }
        });
        done.drop_guard()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_stops_the_drill_and_not_its_user() {
        let user = CancellationToken::new();
        let guard = Guard::new(&user, Vec::new());
        let _watch = guard.watch(Duration::from_secs(90));
        guard.token().cancelled().await;
        assert!(guard.reason().unwrap().contains("90 seconds"));
        assert!(!user.is_cancelled());
        // A user who stops it leaves no reason.
        let guard = Guard::new(&user, Vec::new());
        user.cancel();
        guard.token().cancelled().await;
        assert_eq!(guard.reason(), None);
    }
}
