//! What ends a drill before its end, apart from its user: its deadline, and this host's want of space.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::StatVfs;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often the space is looked at: a fast disk takes some 100 MiB in this time.
const LOOK: Duration = Duration::from_millis(50);

/// How much is always left on the disks that a drill writes to.
pub(super) const FLOOR: Room = Room { bytes: 192 << 20, files: 1000 };

/// What a file system has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes.
    pub(super) bytes: u64,
    /// Files, where it counts them.
    pub(super) files: u64,
}

impl Room {
    pub(super) fn of(found: &StatVfs) -> Self {
        // A file system that makes room for files as it goes counts none.
        let files = if found.f_files == 0 { u64::MAX } else { found.f_favail };
        Self { bytes: found.f_bavail.saturating_mul(found.f_frsize), files }
    }

    fn want(self, folder: &Path) -> Option<String> {
        let folder = folder.display();
        if self.bytes < FLOOR.bytes {
            let (left, floor) = (self.bytes >> 20, FLOOR.bytes >> 20);
            return Some(format!(
                "The drill took so much of the disk below {folder} that {left} MiB were left, and {floor} MiB must stay free."
            ));
        }
        (self.files < FLOOR.files).then(|| {
            format!(
                "The drill made so many files below {folder} that it has room for only {} more.",
                self.files
            )
        })
    }
}

/// The reason for which a drill has to stop, if there is one, and the token that tells everybody.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
    folders: Arc<[PathBuf]>,
}

impl Guard {
    /// A guard of the disks that hold `folders`, whose token is cancelled with that of the user, too.
    pub(super) fn new(user: &CancellationToken, folders: Vec<PathBuf>) -> Self {
        Self { token: user.child_token(), reason: Arc::default(), folders: folders.into() }
    }

    /// Cancelled when the drill has to stop, whoever wants it.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Why the drill had to stop, unless its user asked for it.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    fn stop(&self, reason: String) {
        // The first reason is the one that counts.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// Stops the drill if one of its disks has less room than [`FLOOR`]; says whether it has to stop.
    pub(super) fn look(&self) -> bool {
        if let Some(reason) = self.folders.iter().find_map(|folder| want(folder)) {
            self.stop(reason);
        }
        self.reason().is_some()
    }

    /// Watches until what is given back is dropped: stops the drill `deadline` from now, or when one of its disks has less
    /// room than [`FLOOR`].
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
                        // A file system on the network may take its time.
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

/// What is wanting below a folder. One that cannot be looked at wants nothing.
fn want(folder: &Path) -> Option<String> {
    Room::of(&rustix::fs::statvfs(folder).ok()?).want(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_bytes_or_files_are_want() {
        let want = |bytes: u64, files: u64| Room { bytes, files }.want(Path::new("/x")).unwrap_or_default();
        assert_eq!(want(FLOOR.bytes, FLOOR.files), "");
        assert!(want(FLOOR.bytes - 1, u64::MAX).contains("191 MiB were left"));
        assert!(want(u64::MAX, 7).contains("room for only 7 more"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_stops_the_drill_and_not_its_user() {
        let user = CancellationToken::new();
        let guard = Guard::new(&user, Vec::new());
        let _watch = guard.watch(Duration::from_secs(90));
        guard.token().cancelled().await;
        assert!(guard.reason().unwrap().contains("90 seconds"));
        assert!(!user.is_cancelled());
        // A user who stops it gives no reason.
        let guard = Guard::new(&user, Vec::new());
        user.cancel();
        guard.token().cancelled().await;
        assert_eq!(guard.reason(), None);
    }
}
