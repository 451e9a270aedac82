//! The faults that an operation can have.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lifeboat_store::ServerAnswer;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::{Error, ObjectMeta};
use tokio::sync::watch;

use super::log::Operation;
use super::path;

const STORE: &str = "FaultStore";

/// An error that a store's client can return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The object already exists (S3's 412 to `If-None-Match`, a folder's hard link).
    AlreadyExists,
    /// S3's 409: another write of the same name is in progress. Its client maps it to the same error.
    Conflict,
    /// A condition of the request does not hold (412).
    Precondition,
    /// 501, the answer of stores without conditional writes.
    NotImplemented,
    /// 503 `SlowDown`, optionally with the time after which to retry.
    Throttled(Option<Duration>),
    /// Any other HTTP status.
    Status(u16),
    /// The object does not exist.
    NotFound,
    /// The credentials do not permit this.
    Denied,
    /// Nothing listens there.
    Unreachable,
    /// The connection broke before an answer came.
    Interrupted,
    /// The client gave up waiting.
    Timeout,
    /// The disk is full.
    Full,
    /// The operating system's error with that number.
    Os(i32),
    /// The process is gone; no retry helps.
    Gone,
}

impl Answer {
    pub(super) fn error(self, key: &str) -> Error {
        let path = key.to_owned();
        let status = |status, retry_after| ServerAnswer {
            status,
            retry_after,
            message: "as told".to_owned(),
            ..ServerAnswer::default()
        };
        let generic = |source| Error::Generic { store: STORE, source };
        let http =
            |kind, said: &str| generic(Box::new(HttpError::new(kind, io::Error::other(said.to_owned()))));
        match self {
            Self::AlreadyExists => Error::AlreadyExists { path, source: "it stands there".into() },
            Self::Conflict => Error::AlreadyExists { path, source: status(409, None).into() },
            Self::Precondition => Error::Precondition { path, source: status(412, None).into() },
            Self::NotImplemented => generic(status(501, None).into()),
            Self::Throttled(retry_after) => generic(status(503, retry_after).into()),
            Self::Status(number) => generic(status(number, None).into()),
            Self::NotFound => Error::NotFound { path, source: status(404, None).into() },
            Self::Denied => Error::PermissionDenied { path, source: status(403, None).into() },
            Self::Unreachable => http(HttpErrorKind::Connect, "nothing listens there"),
            Self::Interrupted => http(HttpErrorKind::Interrupted, "the connection broke"),
            Self::Timeout => http(HttpErrorKind::Timeout, "no answer came in time"),
            Self::Full => generic(io::Error::from(io::ErrorKind::StorageFull).into()),
            Self::Os(number) => generic(io::Error::from_raw_os_error(number).into()),
            Self::Gone => generic("the process is gone".into()),
        }
    }
}

type ChangeBody = Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>;
type ChangeListing = Arc<dyn Fn(Vec<ObjectMeta>) -> Vec<ObjectMeta> + Send + Sync>;

/// What happens to an operation.
#[derive(Clone)]
pub struct Fault(pub(super) Effect);

#[derive(Clone)]
pub(super) enum Effect {
    Answer(Answer),
    LostResponse(Answer),
    Hang,
    LandAndHang,
    Wait(Gate),
    Body(ChangeBody, Ending),
    Listing(ChangeListing),
}

/// How a body ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Quietly,
    Broken,
    Never,
}

impl Fault {
    /// It has no effect, and returns this error.
    pub fn answer(answer: Answer) -> Self {
        Self(Effect::Answer(answer))
    }

    /// It takes effect, but returns this error.
    pub fn lost_response(answer: Answer) -> Self {
        Self(Effect::LostResponse(answer))
    }

    /// It has no effect and never returns.
    pub fn hang() -> Self {
        Self(Effect::Hang)
    }

    /// It takes effect and never returns.
    pub fn land_and_hang() -> Self {
        Self(Effect::LandAndHang)
    }

    /// It waits until the gate is opened, and then proceeds normally.
    pub fn wait(gate: &Gate) -> Self {
        Self(Effect::Wait(gate.clone()))
    }

    /// Reads return changed bytes; the size that the store reports stays.
    pub fn change_body(change: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Self {
        Self(Effect::Body(Arc::new(change), Ending::Quietly))
    }

    /// Reads return only the first `keep` bytes, without an error.
    pub fn cut_body(keep: usize) -> Self {
        Self(Effect::Body(Arc::new(move |bytes| first(&bytes, keep)), Ending::Quietly))
    }

    /// The connection breaks after `keep` bytes of a read.
    pub fn broken_body(keep: usize) -> Self {
        Self(Effect::Body(Arc::new(move |bytes| first(&bytes, keep)), Ending::Broken))
    }

    /// A read stalls after `keep` bytes.
    pub fn stalled_body(keep: usize) -> Self {
        Self(Effect::Body(Arc::new(move |bytes| first(&bytes, keep)), Ending::Never))
    }

    /// One bit of the byte at `at` (modulo the length) is flipped.
    pub fn flipped_bit(at: usize) -> Self {
        Self::change_body(move |bytes| {
            let mut bytes = bytes.to_vec();
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte ^= 1;
            }
            bytes.into()
        })
    }

    /// The entries of a listing are changed.
    pub fn change_listing(
        change: impl Fn(Vec<ObjectMeta>) -> Vec<ObjectMeta> + Send + Sync + 'static,
    ) -> Self {
        Self(Effect::Listing(Arc::new(change)))
    }

    /// A listing is in reverse order.
    pub fn reversed_listing() -> Self {
        Self::change_listing(|entries| entries.into_iter().rev().collect())
    }

    /// A listing has only its first `count` entries.
    pub fn short_listing(count: usize) -> Self {
        Self::change_listing(move |entries| entries.into_iter().take(count).collect())
    }

    /// A listing withholds names that start with `prefix`.
    pub fn listing_without(prefix: &str) -> Self {
        let prefix = prefix.to_owned();
        Self::change_listing(move |entries| {
            entries.into_iter().filter(|entry| !entry.location.as_ref().starts_with(&prefix)).collect()
        })
    }

    /// A listing shows only objects that existed when `contents` was taken.
    pub fn stale_listing(contents: &BTreeMap<String, Bytes>) -> Self {
        let keys: Vec<String> = contents.keys().cloned().collect();
        Self::change_listing(move |entries| {
            let is_known = |entry: &ObjectMeta| keys.binary_search(&entry.location.to_string()).is_ok();
            entries.into_iter().filter(is_known).collect()
        })
    }

    /// A listing shows one more entry, for an object that does not exist.
    pub fn forged_entry(key: &str, size: u64) -> Self {
        let location = path(key);
        Self::change_listing(move |mut entries| {
            let last_modified = SystemTime::UNIX_EPOCH.into();
            let location = location.clone();
            entries.push(ObjectMeta { location, last_modified, size, e_tag: None, version: None });
            entries
        })
    }

    /// Whether it can happen to this kind of operation.
    pub(super) fn suits(&self, operation: Operation) -> bool {
        match self.0 {
            Effect::Body(..) => matches!(operation, Operation::Get | Operation::GetRange),
            Effect::Listing(_) => operation == Operation::List,
            _ => true,
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Effect::Answer(answer) => write!(f, "Answer({answer:?})"),
            Effect::LostResponse(answer) => write!(f, "LostResponse({answer:?})"),
            Effect::Hang => f.write_str("Hang"),
            Effect::LandAndHang => f.write_str("LandAndHang"),
            Effect::Wait(_) => f.write_str("Wait"),
            Effect::Body(_, ending) => write!(f, "Body({ending:?})"),
            Effect::Listing(_) => f.write_str("Listing"),
        }
    }
}

fn first(bytes: &Bytes, keep: usize) -> Bytes {
    bytes.slice(..keep.min(bytes.len()))
}

/// How long a test waits for what it expects before it fails, so that no test waits for ever.
const PATIENCE: Duration = Duration::from_mins(5);

/// Holds operations until a test releases them.
#[derive(Debug, Clone)]
pub struct Gate {
    arrived: watch::Sender<u64>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self { arrived: watch::Sender::new(0), open: watch::Sender::new(false) }
    }

    /// Waits until `count` operations are waiting at the gate, or have passed it.
    ///
    /// # Panics
    ///
    /// If they do not arrive within five minutes.
    pub async fn arrivals(&self, count: u64) {
        let mut arrived = self.arrived.subscribe();
        let all = tokio::time::timeout(PATIENCE, arrived.wait_for(|arrived| *arrived >= count)).await;
        assert!(all.is_ok(), "{} of {count} operations arrived within {PATIENCE:?}", *self.arrived.borrow());
    }

    /// Releases everything, now and later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub(super) async fn pass(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
