//! An open store: reading, listing, deleting, and how every operation is retried.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::{GetResult, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::time::timeout;

use crate::breaker::{Breaker, LeftAlone};
use crate::diagnosis::{AttemptError, Retry, is_denied, is_full, within};
use crate::error::{Effort, find};
use crate::folder::{Folder, Wrong};
use crate::listing::Warnings;
use crate::obstacle::InTheWay;
use crate::refusal::{Refusal, Unreached};
use crate::retry_budget::RetryBudget;
use crate::site::Site;
use crate::{ServerAnswer, StoreError, name};

/// The slowest link for which deadlines allow enough time, in bytes per second.
const SLOWEST_LINK: u64 = 64 * 1024;

/// The part of every deadline that does not depend on size.
pub(crate) const BASE_DEADLINE: Duration = Duration::from_secs(45);

/// A body is given up if nothing arrives for this long.
const STALL_DEADLINE: Duration = Duration::from_mins(1);

/// The largest buffer that is allocated on the store's word alone.
const TRUSTED_CAPACITY: u64 = 16 << 20;

/// An open store. Cheap to clone; clones share one client, and what is known about the store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Arc<dyn ObjectStore>,
    name: String,
    folder: Option<Folder>,
    site: Site,
    breaker: Breaker,
    warnings: Warnings,
    /// Whether the store ever answered.
    has_answered: AtomicBool,
    /// Whether it honours conditional creates.
    is_conditional: AtomicBool,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The object's name.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, by the storage's clock.
    pub modified: Timestamp,
}

impl Entry {
    /// Times are kept to the microsecond, which every storage provides, and within the range of a timestamp: some file
    /// systems keep any time that a file's owner sets.
    pub(crate) fn new(key: String, size: u64, modified_micros: i64) -> Self {
        let (first, last) = (Timestamp::MIN, Timestamp::MAX);
        let micros = modified_micros.clamp(first.as_microsecond(), last.as_microsecond());
        Self { key, size, modified: Timestamp::from_microsecond(micros).unwrap_or(last) }
    }
}

impl From<ObjectMeta> for Entry {
    fn from(meta: ObjectMeta) -> Self {
        Self::new(meta.location.into(), meta.size, meta.last_modified.timestamp_micros())
    }
}

impl Store {
    /// A store over any backend; `name` is its name in errors.
    pub fn over(backend: Arc<dyn ObjectStore>, name: String) -> Self {
        Self::new(backend, name, None, Site::default())
    }

    pub(crate) fn new(
        backend: Arc<dyn ObjectStore>,
        name: String,
        folder: Option<Folder>,
        site: Site,
    ) -> Self {
        let shared = Shared {
            backend,
            name,
            folder,
            site,
            breaker: Breaker::default(),
            warnings: Warnings::default(),
            has_answered: AtomicBool::new(false),
            is_conditional: AtomicBool::new(true),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The store's name in errors.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Settings that select the storage besides its location, as variables and their values. None is secret.
    pub fn settings(&self) -> &[(&'static str, String)] {
        &self.shared.site.settings
    }

    /// The variables that usually hold credentials for the storage; empty for a folder.
    pub fn credential_variables(&self) -> &'static [&'static str] {
        self.shared.site.credentials
    }

    /// The storage's present time, if its answers contain it.
    pub fn server_time(&self) -> Option<Timestamp> {
        self.shared.site.clock.now()
    }

    /// How many bytes are free, if the store is a folder and this can be determined.
    pub fn free_bytes(&self) -> Option<u64> {
        self.folder()?.free_bytes()
    }

    /// Reads a whole object of at most `cap` bytes.
    pub async fn read(&self, key: &str, cap: u64) -> Result<Bytes, StoreError> {
        let path = &name::path(key)?;
        self.attempt("read", key, || async move {
            let found = within(BASE_DEADLINE, self.backend().get(path)).await?;
            let size = found.meta.size;
            if size > cap {
                let (store, key) = (self.name().to_owned(), key.to_owned());
                return Err(AttemptError::Settled(StoreError::TooLarge { store, key, found: size, cap }));
            }
            collect(found, size).await
        })
        .await
    }

    /// Reads part of an object: exactly as many bytes as the range has.
    pub async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = &name::path(key)?;
        let wanted = &range;
        if wanted.is_empty() {
            return Ok(Bytes::new());
        }
        let too_short = |size| {
            let (store, key) = (self.name().to_owned(), key.to_owned());
            StoreError::OutOfRange { store, key, range: wanted.clone(), size }
        };
        let too_short = &too_short;
        let read = self.attempt("read", key, || async move {
            let options = object_store::GetOptions::new().with_range(Some(wanted.clone()));
            let found = within(BASE_DEADLINE, self.backend().get_opts(path, options)).await?;
            if found.meta.size < wanted.end {
                return Err(AttemptError::Settled(too_short(found.meta.size)));
            }
            collect(found, wanted.end - wanted.start).await
        });
        match read.await {
            // For a range that starts past the end, each storage has an error of its own, so look at the size.
            Err(error @ StoreError::Failed { .. }) => match self.entry(key).await {
                Ok(Some(entry)) if entry.size < range.end => Err(too_short(entry.size)),
                _ => Err(error),
            },
            read => read,
        }
    }

    /// The size and time of an object, or `None` if it does not exist.
    pub async fn entry(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let path = &name::path(key)?;
        let found = self.attempt("look up", key, || async move {
            within(BASE_DEADLINE, self.backend().head(path)).await.map(Entry::from)
        });
        match found.await {
            Ok(entry) => Ok(Some(entry)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an object. Removing a missing object succeeds.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = &name::path(key)?;
        let done = self.attempt("delete", key, || within(BASE_DEADLINE, self.backend().delete(path)));
        match done.await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn backend(&self) -> &dyn ObjectStore {
        &*self.shared.backend
    }

    /// Whether the store is a folder, where the owners of files can set their times.
    pub fn is_folder(&self) -> bool {
        self.shared.folder.is_some()
    }

    pub(crate) fn folder(&self) -> Option<&Folder> {
        self.shared.folder.as_ref()
    }

    pub(crate) fn warnings(&self) -> &Warnings {
        &self.shared.warnings
    }

    pub(crate) fn is_conditional(&self) -> bool {
        self.shared.is_conditional.load(Ordering::Relaxed)
    }

    /// From now on, writes are not conditional. Returns whether this is a change.
    pub(crate) fn give_up_conditions(&self) -> bool {
        self.shared.is_conditional.swap(false, Ordering::Relaxed)
    }

    /// Tries an operation until it succeeds, its answer is definite, or the retry budget is used up.
    pub(crate) async fn attempt<T, F>(
        &self,
        operation: &'static str,
        key: &str,
        mut request: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let admission = self.shared.breaker.admit().map_err(|left_alone| self.suspended(left_alone))?;
        let mut retry_budget = RetryBudget::new(admission.is_probe());
        loop {
            let trouble = match request().await {
                Ok(value) => {
                    self.shared.has_answered.store(true, Ordering::Relaxed);
                    admission.answered();
                    return Ok(value);
                }
                Err(trouble) => trouble,
            };
            if trouble.is_an_answer() {
                self.shared.has_answered.store(true, Ordering::Relaxed);
            }
            let retry = trouble.retry();
            let has_answered = self.shared.has_answered.load(Ordering::Relaxed);
            let Some(pause) = retry_budget.after(retry, has_answered) else {
                let error = self.explain(operation, key, trouble, retry_budget.effort());
                if matches!(retry, Retry::Passing(_)) {
                    if let Some(rest) = admission.gave_up(&chain(&error)) {
                        tracing::warn!("{} is left alone for {rest:?}: {}", self.name(), chain(&error));
                    }
                } else {
                    admission.answered();
                }
                return Err(error);
            };
            tracing::debug!(?trouble, "{}: to {operation} `{key}` is tried again in {pause:?}", self.name());
            tokio::time::sleep(pause).await;
        }
    }

    /// The error of a folder operation, which is tried only once.
    pub(crate) fn told(&self, operation: &'static str, key: &str, wrong: Wrong) -> StoreError {
        self.explain(operation, key, AttemptError::Client(wrong.told(key)), Effort::default())
    }

    pub(crate) fn failed(
        &self,
        operation: &'static str,
        key: &str,
        effort: Effort,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        let (store, key, source) = (self.name().to_owned(), key.to_owned(), source.into());
        StoreError::Failed { store, operation, key, effort, source }
    }

    fn suspended(&self, left_alone: LeftAlone) -> StoreError {
        let LeftAlone { failures, opened, retry, last } = left_alone;
        let (store, source) = (self.name().to_owned(), last.into());
        StoreError::Suspended { store, failures, opened, retry, source }
    }

    fn explain(
        &self,
        operation: &'static str,
        key: &str,
        trouble: AttemptError,
        effort: Effort,
    ) -> StoreError {
        use object_store::Error as E;
        let (store, name) = (self.name().to_owned(), key.to_owned());
        if let AttemptError::Client(error) = &trouble
            && let Some(InTheWay { place, obstacle }) = find(error)
        {
            return StoreError::NotAnObject { store, key: name, place: place.clone(), obstacle: *obstacle };
        }
        if let AttemptError::Client(error) = &trouble
            && let Some((refusal, code)) = refusal(error)
        {
            return StoreError::Refused { store, refusal, code };
        }
        match trouble {
            AttemptError::Settled(error) => error,
            AttemptError::Late(deadline) => {
                StoreError::Deadline { store, operation, key: name, deadline, effort }
            }
            AttemptError::Uneven { announced, came } => {
                let said = format!("{came} bytes came where {announced} were announced");
                self.failed(operation, key, effort, said)
            }
            AttemptError::Client(E::NotFound { .. }) => StoreError::NotFound { store, key: name },
            AttemptError::Client(E::AlreadyExists { .. } | E::Precondition { .. }) => {
                StoreError::AlreadyExists { store, key: name }
            }
            AttemptError::Client(error @ (E::PermissionDenied { .. } | E::Unauthenticated { .. })) => {
                StoreError::Denied { store, key: name, source: plainly(error) }
            }
            AttemptError::Client(error) if has_status(&error, &[401, 403]) => {
                StoreError::Denied { store, key: name, source: plainly(error) }
            }
            AttemptError::Client(error) if is_full(&error) => {
                StoreError::Full { store, key: name, source: error.into() }
            }
            AttemptError::Client(error) if is_denied(&error) => {
                StoreError::Denied { store, key: name, source: error.into() }
            }
            AttemptError::Client(error) => match unreached(&error) {
                Some(reason) => {
                    let endpoint = self.shared.site.endpoint.clone();
                    StoreError::Unreachable { store, endpoint, reason, effort }
                }
                None => self.failed(operation, key, effort, plainly(error)),
            },
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.name())
    }
}

/// The deadline of one attempt for that many bytes.
pub(crate) fn deadline(size: u64) -> Duration {
    BASE_DEADLINE + Duration::from_secs(size / SLOWEST_LINK)
}

/// The body of an answer, which must have exactly `size` bytes. No more are kept, however many arrive.
async fn collect(found: GetResult, size: u64) -> Result<Bytes, AttemptError> {
    let mut stream = found.into_stream();
    let whole = async {
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(TRUSTED_CAPACITY)).unwrap_or(0));
        loop {
            let part = timeout(STALL_DEADLINE, stream.try_next());
            match part.await.map_err(|_| AttemptError::Late(STALL_DEADLINE))?.map_err(AttemptError::Client)? {
                Some(part) if bytes.len() as u64 + part.len() as u64 <= size => {
                    bytes.extend_from_slice(&part);
                }
                Some(part) => return Err(uneven(size, bytes.len() as u64 + part.len() as u64)),
                None if bytes.len() as u64 == size => return Ok(bytes.into()),
                None => return Err(uneven(size, bytes.len() as u64)),
            }
        }
    };
    timeout(deadline(size), whole).await.map_err(|_| AttemptError::Late(deadline(size)))?
}

fn uneven(announced: u64, came: u64) -> AttemptError {
    AttemptError::Uneven { announced, came }
}

/// The refusal in the server's answer, and its error code.
fn refusal(error: &object_store::Error) -> Option<(Refusal, String)> {
    let answer = find::<ServerAnswer>(error)?;
    Some((Refusal::of(answer)?, answer.code.clone().unwrap_or_default()))
}

fn has_status(error: &object_store::Error, statuses: &[u16]) -> bool {
    find::<ServerAnswer>(error).is_some_and(|answer| statuses.contains(&answer.status))
}

/// Why the connection failed, if that is what failed.
fn unreached(error: &object_store::Error) -> Option<Unreached> {
    let http = find::<HttpError>(error).filter(|_| find::<ServerAnswer>(error).is_none())?;
    if http.kind() != HttpErrorKind::Connect {
        return None;
    }
    let system = find::<std::io::Error>(error).map(std::io::Error::kind);
    let is = |kind| system == Some(kind);
    let (refused, late) = (std::io::ErrorKind::ConnectionRefused, std::io::ErrorKind::TimedOut);
    Some(Unreached::of(&sayings(error), is(refused), is(late)))
}

/// The texts in the chain of sources, the outermost first.
fn sayings(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    let mut said = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        said.push(error.to_string());
        next = error.source();
    }
    said
}

/// A client's error without its wrappers: the server's answer, or the innermost cause. An error of the system about a
/// folder stays as it is.
fn plainly(error: object_store::Error) -> Box<dyn std::error::Error + Send + Sync> {
    if let Some(answer) = find::<ServerAnswer>(&error) {
        return answer.clone().into();
    }
    match sayings(&error).pop() {
        Some(said) if find::<HttpError>(&error).is_some() => said.into(),
        _ => error.into(),
    }
}

/// An error and its sources on one line.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
