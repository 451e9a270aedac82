//! The intent journal: which containers are about to be stopped or paused, on disk before any of them is touched.
//!
//! One file per run, `quiesce-<id>.json`, replaced atomically and synced at each step, next to `quiesce-<id>.lock`,
//! which the running process locks. A journal whose lock is free belongs to a dead process. States only move forward:
//! planned → stopping → held; the journal is removed when everything is back.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lifeboat_core::limits::{SMALL_FILE_BYTES, read_capped};
use lifeboat_core::private_folder;
use lifeboat_core::random::Entropy;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Deserializer, Serialize};

use super::Rested;
use crate::EngineError;
use crate::selection::{Activity, Container, Service};

/// The version of the journal that this code writes and reads.
const VERSION: u32 = 1;

/// We create no links in the folder, so any link there was put there by somebody else.
const NO_LINK: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// How long after its own timeout a stop that the engine is still carrying out may end.
const STOP_MARGIN: SignedDuration = SignedDuration::from_secs(15);

/// The action on a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Its processes are paused.
    Pause,
    /// It is stopped.
    Stop,
}

/// The progress of the action on one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Step {
    /// The engine was not asked yet.
    Planned,
    /// The engine was asked at this moment. It may still be carrying this out, even if the process that asked has died.
    Asked {
        /// When the engine was asked.
        since: Timestamp,
    },
    /// The engine answered that it is done.
    Held,
}

/// One container of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its place in a compose project, by which it is found if it was recreated.
    pub service: Option<Service>,
    /// When it had been started, according to the engine. Another start means that someone else has taken over.
    pub started_at: String,
    /// How long it has to stop.
    pub stop_timeout_seconds: u64,
    /// The action on it.
    pub action: Action,
    /// The progress of the action.
    #[serde(flatten)]
    pub step: Step,
}

/// The state of a container when a left-over journal is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Whether it runs.
    pub activity: Activity,
    /// When it was last started.
    pub started_at: &'a str,
}

/// What settling does with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It is as it should be, or someone else has taken over.
    Leave,
    /// Start it.
    Start,
    /// Unpause it.
    Unpause,
    /// The engine may still be stopping it: check again, until this moment.
    Await(Timestamp),
}

impl Entry {
    pub(crate) fn new(container: &Container, action: Action) -> Self {
        Self {
            id: container.id.clone(),
            name: container.name.clone(),
            service: container.service.clone(),
            started_at: container.started_at.clone(),
            stop_timeout_seconds: container.stop_timeout.as_secs(),
            action,
            step: Step::Planned,
        }
    }

    /// The container at rest, after `action`.
    pub(crate) fn rested(&self, action: Option<Action>) -> Rested {
        Rested {
            id: self.id.clone(),
            container: self.name.clone(),
            started_at: self.started_at.clone(),
            action,
        }
    }

    /// What must be done to restore the container's state before the run.
    pub fn remedy(&self, found: &Found<'_>, now: Timestamp) -> Remedy {
        let same_run = found.started_at == self.started_at;
        match (self.action, self.step) {
            // Before the engine was asked, nothing of ours can have happened.
            (_, Step::Planned) => Remedy::Leave,
            _ if !same_run => Remedy::Leave,
            (Action::Pause, _) if found.activity == Activity::Paused => Remedy::Unpause,
            (Action::Stop, _) if found.activity == Activity::Stopped => Remedy::Start,
            (Action::Stop, Step::Asked { since }) => {
                let grace = Duration::from_secs(self.stop_timeout_seconds);
                let until = SignedDuration::try_from(grace)
                    .ok()
                    .and_then(|grace| since.checked_add(grace).ok()?.checked_add(STOP_MARGIN).ok());
                match until {
                    // A clock that was set back must not make this wait for ever.
                    Some(until) if now < until && since <= now => Remedy::Await(until),
                    _ => Remedy::Leave,
                }
            }
            _ => Remedy::Leave,
        }
    }
}

/// The document on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    made_at: Timestamp,
    engine: String,
    containers: Vec<Entry>,
    /// When each container that lived in another one had been started, by id, at the time of the plan. Journals of
    /// earlier releases lack it, and containers are started again without it.
    #[serde(default, deserialize_with = "known_or_none")]
    known: Option<BTreeMap<String, String>>,
}

fn known_or_none<'de, D: Deserializer<'de>>(text: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let value = serde_json::Value::deserialize(text)?;
    Ok(serde_json::from_value(value).ok())
}

/// A journal that this process holds.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    document: Document,
    // Locked until the journal is removed; the system releases it if the process dies.
    _lock: File,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EngineError {
    let path = path.to_owned();
    move |source| EngineError::Io { operation, path, source }
}

fn lock_path(journal: &Path) -> PathBuf {
    journal.with_extension("lock")
}

/// Opens and takes the lock next to `journal`; `None` if another process holds it.
fn take_lock(journal: &Path) -> Result<Option<File>, EngineError> {
    let path = lock_path(journal);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(NO_LINK)
        .open(&path)
        .map_err(failed("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(failed("lock", &path)(errno.into())),
    }
}

impl Journal {
    /// Writes a new journal into `folder`, which is created if necessary.
    pub(crate) fn create(
        folder: &Path,
        engine: &str,
        containers: Vec<Entry>,
        known: BTreeMap<String, String>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, EngineError> {
        private_folder::own(folder).map_err(failed("use", folder))?;
        let id = hex::encode(entropy.array::<8>());
        let path = folder.join(format!("quiesce-{id}.json"));
        let lock = take_lock(&path)?.ok_or_else(|| {
            failed("lock", &path)(io::Error::other("another process holds a lock of this name"))
        })?;
        let document = Document {
            version: VERSION,
            made_at: now,
            engine: engine.to_owned(),
            containers,
            known: Some(known),
        };
        let journal = Self { path, document, _lock: lock };
        journal.write()?;
        Ok(journal)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its containers, in the order in which they stop.
    pub fn entries(&self) -> &[Entry] {
        &self.document.containers
    }

    /// When each container that lived in another one had been started, by id, at the time of the plan, if that is
    /// known.
    pub(crate) fn known(&self) -> Option<&BTreeMap<String, String>> {
        self.document.known.as_ref()
    }

    /// When it was created.
    pub(crate) fn made_at(&self) -> Timestamp {
        self.document.made_at
    }

    /// The id of the engine that it is about.
    pub fn engine(&self) -> &str {
        &self.document.engine
    }

    /// Replaces one container's entry; [`Journal::record`] writes it to disk.
    pub(crate) fn renew(&mut self, place: usize, entry: Entry) {
        self.document.containers[place] = entry;
    }

    /// Puts a container before all others, so that it is started after them; [`Journal::record`] writes it to disk.
    pub(crate) fn put_first(&mut self, entry: Entry) {
        self.document.containers.insert(0, entry);
    }

    /// Records a container's progress.
    pub(crate) fn record(&mut self, place: usize, step: Step) -> Result<(), EngineError> {
        self.document.containers[place].step = step;
        self.write()
    }

    fn write(&self) -> Result<(), EngineError> {
        let bytes = serde_json::to_vec_pretty(&self.document).expect("texts and numbers always serialise");
        let fresh = self.path.with_extension("new");
        let write = || {
            // First remove what a dead process has left; if it is a link, the link itself and not its target.
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)?;
            // The name must be durable before the engine is asked for anything.
            File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| {
            // Nobody would find the incomplete file.
            let _ = fs::remove_file(&fresh);
            failed("write", &self.path)(error)
        })
    }

    /// Removes the journal: everything is as it was before.
    pub(crate) fn finish(self) -> Result<(), EngineError> {
        fs::remove_file(&self.path).map_err(failed("remove", &self.path))?;
        let lock = lock_path(&self.path);
        fs::remove_file(&lock).map_err(failed("remove", &lock))
    }
}

/// The content of a journal folder.
#[derive(Debug, Default)]
pub struct JournalFolder {
    /// Journals of dead processes, now locked by us.
    pub left_over: Vec<Journal>,
    /// The containers in journals of running processes.
    pub busy: Vec<(PathBuf, Entry)>,
    /// Files that cannot be read as journals, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Reads every journal in `folder`; a folder that does not exist has none.
pub fn journal_folder(folder: &Path) -> Result<JournalFolder, EngineError> {
    let mut journal_folder = JournalFolder::default();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(journal_folder),
        Err(error) => return Err(failed("read", folder)(error)),
    };
    // Check this before believing anything in it, because its content decides which containers are started.
    private_folder::own(folder).map_err(failed("use", folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("quiesce-") && path.extension().is_some_and(|e| e == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths {
        let lock = take_lock(&path)?;
        let open = OpenOptions::new().read(true).custom_flags(NO_LINK).open(&path);
        let read = open
            .and_then(|file| read_capped(file, SMALL_FILE_BYTES))
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice::<Document>(&bytes).map_err(|error| error.to_string()));
        match (lock, read) {
            (_, Ok(document)) if document.version != VERSION => {
                journal_folder.unreadable.push((path, format!("it is of version {}", document.version)));
            }
            (Some(lock), Ok(document)) => {
                journal_folder.left_over.push(Journal { path, document, _lock: lock });
            }
            (None, Ok(document)) => {
                journal_folder
                    .busy
                    .extend(document.containers.into_iter().map(|entry| (path.clone(), entry)));
            }
            // It was removed in the meantime.
            (_, Err(_)) if !path.exists() => {}
            (_, Err(reason)) => journal_folder.unreadable.push((path, reason)),
        }
    }
    Ok(journal_folder)
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;

    use super::*;

    const STARTED: &str = "2026-01-01T00:00:00.123456789Z";

    fn entry(action: Action, step: Step) -> Entry {
        Entry {
            id: "a".repeat(64),
            name: "db".into(),
            service: None,
            started_at: STARTED.into(),
            stop_timeout_seconds: 10,
            action,
            step,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const RUNS: Found<'_> = Found { activity: Activity::Running, started_at: STARTED };
    const STOPPED: Found<'_> = Found { activity: Activity::Stopped, started_at: STARTED };
    const PAUSED: Found<'_> = Found { activity: Activity::Paused, started_at: STARTED };

    #[test]
    fn a_container_that_we_stopped_is_started_and_one_that_we_paused_is_unpaused() {
        let asked = Step::Asked { since: at(100) };
        assert_eq!(entry(Action::Stop, Step::Held).remedy(&STOPPED, at(1000)), Remedy::Start);
        assert_eq!(entry(Action::Stop, asked).remedy(&STOPPED, at(101)), Remedy::Start);
        assert_eq!(entry(Action::Pause, Step::Held).remedy(&PAUSED, at(1000)), Remedy::Unpause);
        assert_eq!(entry(Action::Pause, asked).remedy(&RUNS, at(101)), Remedy::Leave);
    }

    #[test]
    fn a_container_that_we_never_touched_or_that_was_started_since_is_left_alone() {
        assert_eq!(entry(Action::Stop, Step::Planned).remedy(&STOPPED, at(1000)), Remedy::Leave);
        let restarted = Found { started_at: "2026-01-02T00:00:00Z", ..STOPPED };
        assert_eq!(entry(Action::Stop, Step::Held).remedy(&restarted, at(1000)), Remedy::Leave);
        assert_eq!(entry(Action::Stop, Step::Held).remedy(&RUNS, at(1000)), Remedy::Leave);
    }

    #[test]
    fn a_stop_that_the_engine_may_still_carry_out_is_awaited_but_not_for_ever() {
        let asked = entry(Action::Stop, Step::Asked { since: at(100) });
        assert_eq!(asked.remedy(&RUNS, at(105)), Remedy::Await(at(125)));
        assert_eq!(asked.remedy(&RUNS, at(126)), Remedy::Leave);
        assert_eq!(asked.remedy(&RUNS, at(50)), Remedy::Leave, "the clock was set back");
    }

    #[test]
    fn a_journal_is_busy_while_its_process_lives_and_left_over_after() {
        let folder = tempfile::tempdir().unwrap();
        let entries = vec![entry(Action::Stop, Step::Planned)];
        let mut journal =
            Journal::create(folder.path(), "E", entries, BTreeMap::new(), at(1), &OsEntropy).unwrap();
        journal.record(0, Step::Held).unwrap();
        let alive = journal_folder(folder.path()).unwrap();
        assert!(alive.left_over.is_empty());
        assert_eq!(alive.busy.len(), 1);
        drop(journal);
        let dead = journal_folder(folder.path()).unwrap();
        assert_eq!(dead.left_over.len(), 1);
        assert_eq!(dead.left_over[0].entries()[0].step, Step::Held);
        for journal in dead.left_over {
            journal.finish().unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left, not even the lock");
    }

    #[test]
    fn a_file_that_is_no_journal_is_told_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("quiesce-1.json"), "half").unwrap();
        fs::write(folder.path().join("other.json"), "x").unwrap();
        let journal_folder = journal_folder(folder.path()).unwrap();
        assert_eq!(journal_folder.unreadable.len(), 1);
        assert!(folder.path().join("quiesce-1.json").exists());
    }
}
