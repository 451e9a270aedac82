//! What can happen to an operation.

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

/// An error that a store's client can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The object exists already (S3's 412 to `If-None-Match`, a folder's hard link).
    AlreadyExists,
    /// S3's 409: another write of the same name is under way. Its client calls it by the same error.
    Conflict,
    /// A condition of the request does not hold (412).
    Precondition,
    /// 501, as stores answer that know no conditional writes.
    NotImplemented,
    /// 503 `SlowDown`, perhaps with the time after which to try again.
    Throttled(Option<Duration>),
    /// Any other HTTP status.
    Status(u16),
    /// There is no such object.
    NotFound,
    /// The credentials are no good for this.
    Denied,
    /// Nothing listens there.
    Unreachable,
    /// The connection broke before an answer came.
    Interrupted,
    /// The client gave up waiting.
    Timeout,
    /// No room is left.
    Full,
    /// The operating system's error of that number.
    Os(i32),
    /// The process that asked is gone; no retry helps.
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
    /// It takes no effect and is answered so.
    pub fn answer(answer: Answer) -> Self {
        Self(Effect::Answer(answer))
    }

    /// It takes effect, and is answered so all the same.
    pub fn lost_response(answer: Answer) -> Self {
        Self(Effect::LostResponse(answer))
    }

    /// It takes no effect and is never answered.
    pub fn hang() -> Self {
        Self(Effect::Hang)
    }

    /// It takes effect and is never answered.
    pub fn land_and_hang() -> Self {
        Self(Effect::LandAndHang)
    }

    /// It waits until the gate is opened, then takes its course.
    pub fn wait(gate: &Gate) -> Self {
        Self(Effect::Wait(gate.clone()))
    }

    /// The bytes that are read come changed; the size that the store claims stays.
    pub fn change_body(change: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Self {
        Self(Effect::Body(Arc::new(change), Ending::Quietly))
    }

    /// Only the first `keep` bytes of what is read come, without an error.
    pub fn cut_body(keep: usize) -> Self {
        Self(Effect::Body(Arc::new(move |bytes| first(&bytes, keep)), Ending::Quietly))
    }

    /// The connection breaks after `keep` bytes of what is read.
    pub fn broken_body(keep: usize) -> Self {
        Self(Effect::Body(Arc::new(move |bytes| first(&bytes, keep)), Ending::Broken))
    }

    /// Nothing more comes after `keep` bytes of what is read.
    pub fn stalled_body(keep: usize) -> Self {
        Self(Effect::Body(Arc::new(move |bytes| first(&bytes, keep)), Ending::Never))
    }

    /// One bit of the byte at `at` (modulo the length) comes flipped.
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

    /// The entries of a listing come changed.
    pub fn change_listing(
        change: impl Fn(Vec<ObjectMeta>) -> Vec<ObjectMeta> + Send + Sync + 'static,
    ) -> Self {
        Self(Effect::Listing(Arc::new(change)))
    }

    /// A listing comes backwards.
    pub fn reversed_listing() -> Self {
        Self::change_listing(|entries| entries.into_iter().rev().collect())
    }

    /// A listing has only its first `count` entries.
    pub fn short_listing(count: usize) -> Self {
        Self::change_listing(move |entries| entries.into_iter().take(count).collect())
    }

    /// A listing withholds what begins with `prefix`.
    pub fn listing_without(prefix: &str) -> Self {
        let prefix = prefix.to_owned();
        Self::change_listing(move |entries| {
            entries.into_iter().filter(|entry| !entry.location.as_ref().starts_with(&prefix)).collect()
        })
    }

    /// A listing shows only what was in the store when `contents` was taken.
    pub fn stale_listing(contents: &BTreeMap<String, Bytes>) -> Self {
        let keys: Vec<String> = contents.keys().cloned().collect();
        Self::change_listing(move |entries| {
            let is_known = |entry: &ObjectMeta| keys.binary_search(&entry.location.to_string()).is_ok();
            entries.into_iter().filter(is_known).collect()
        })
    }

    /// A listing shows one entry more, of an object that is not there.
    pub fn forged_entry(key: &str, size: u64) -> Self {
        let location = path(key);
        Self::change_listing(move |mut entries| {
            let last_modified = SystemTime::UNIX_EPOCH.into();
            let location = location.clone();
            entries.push(ObjectMeta { location, last_modified, size, e_tag: None, version: None });
            entries
        })
    }

    /// Whether it can happen to such an operation.
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

/// How long a test waits for what it expects before it fails: an end for tests that would wait for ever.
const PATIENCE: Duration = Duration::from_mins(5);

/// Holds operations until a test lets them go.
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

    /// Waits until `count` operations stand at the gate, or have gone through.
    ///
    /// # Panics
    /// If they do not arrive within five minutes.
    pub async fn arrivals(&self, count: u64) {
        let mut arrived = self.arrived.subscribe();
        let all = tokio::time::timeout(PATIENCE, arrived.wait_for(|arrived| *arrived >= count)).await;
        assert!(all.is_ok(), "{} of {count} operations arrived within {PATIENCE:?}", *self.arrived.borrow());
    }

    /// Lets everything through, now and later.
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
