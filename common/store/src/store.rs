//! The operations: create once, read with a ceiling, list, delete.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::StoreError;

/// The slowest link that a request may take its time on, in bytes a second.
const SLOWEST_LINK: u64 = 64 * 1024;

/// What every request is given whatever its size; retries happen within it.
const BASE_DEADLINE: Duration = Duration::from_secs(45);

/// An open store. Cheap to clone; clones share one client.
#[derive(Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    name: String,
}

/// Whether [`Store::create`] wrote the object or found it there with the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object was written now.
    Now,
    /// The same bytes already stood under that name.
    Before,
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

impl Store {
    /// A store over any backend; `name` is how errors call it.
    pub fn over(inner: Arc<dyn ObjectStore>, name: String) -> Self {
        Self { inner, name }
    }

    /// How errors call this store.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes an object that must not be there yet, or be there with the same bytes.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let path = self.path(key)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.inner.put_opts(&path, bytes.clone().into(), options);
        match self.timed("write", key, bytes.len() as u64, put).await {
            Ok(_) => Ok(Created::Now),
            // A retried request may meet its own first try, and S3 answers 409 to a race of which nothing landed:
            // what counts is what stands there now.
            Err(StoreError::AlreadyExists { .. }) => match self.read(key, bytes.len() as u64).await {
                Ok(found) if found == bytes => Ok(Created::Before),
                Ok(_) | Err(StoreError::TooLarge { .. }) => {
                    Err(StoreError::AlreadyExists { store: self.name.clone(), key: key.to_owned() })
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Reads an object of at most `cap` bytes whole.
    pub async fn read(&self, key: &str, cap: u64) -> Result<Bytes, StoreError> {
        let path = self.path(key)?;
        let found = self.timed("read", key, cap, self.inner.get(&path)).await?;
        let size = found.meta.size;
        if size > cap {
            return Err(StoreError::TooLarge {
                store: self.name.clone(),
                key: key.to_owned(),
                found: size,
                cap,
            });
        }
        // The size is the store's claim; the stream is cut off where it goes past the ceiling all the same.
        let mut stream = found.into_stream();
        let collect = async {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            while let Some(part) = stream.try_next().await? {
                bytes.extend_from_slice(&part);
                if bytes.len() as u64 > cap {
                    break;
                }
            }
            Ok(bytes)
        };
        let bytes = self.timed("read", key, size, collect).await?;
        if bytes.len() as u64 > cap {
            let found = bytes.len() as u64;
            return Err(StoreError::TooLarge { store: self.name.clone(), key: key.to_owned(), found, cap });
        }
        Ok(bytes.into())
    }

    /// Reads a part of an object. A store that gives fewer or more bytes than were asked for has failed.
    pub async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = self.path(key)?;
        let size = range.end.saturating_sub(range.start);
        let bytes = self.timed("read", key, size, self.inner.get_range(&path, range.clone())).await?;
        if bytes.len() as u64 == size {
            return Ok(bytes);
        }
        Err(StoreError::Failed {
            store: self.name.clone(),
            operation: "read",
            key: key.to_owned(),
            source: format!("{} bytes came for the range {range:?}", bytes.len()).into(),
        })
    }

    /// The size and time of an object, or `None` where there is none.
    pub async fn entry(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let path = self.path(key)?;
        match self.timed("look up", key, 0, self.inner.head(&path)).await {
            Ok(meta) => Ok(Some(self.read_entry(meta)?)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects below `prefix` (a whole number of path parts), sorted by name.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        self.for_each(prefix, |entry| entries.push(entry)).await?;
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    /// Hands all objects below `prefix` to `each`, in the order in which the store lists them: for more of them than
    /// memory should hold.
    pub async fn for_each(&self, prefix: &str, mut each: impl FnMut(Entry)) -> Result<(), StoreError> {
        let path = self.path(prefix)?;
        let prefix_path = (!prefix.is_empty()).then_some(&path);
        // A listing's length is not known beforehand; each page gets its own time.
        let mut stream = self.inner.list(prefix_path);
        while let Some(meta) = self.timed("list", prefix, 0, stream.try_next()).await? {
            each(self.read_entry(meta)?);
        }
        Ok(())
    }

    /// Removes an object; one that is not there is removed already.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key)?;
        match self.timed("delete", key, 0, self.inner.delete(&path)).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn read_entry(&self, meta: object_store::ObjectMeta) -> Result<Entry, StoreError> {
        let key = meta.location.to_string();
        match Timestamp::from_nanosecond(i128::from(meta.last_modified.timestamp_micros()) * 1000) {
            Ok(modified) => Ok(Entry { key, size: meta.size, modified }),
            Err(error) => {
                let (store, source) = (self.name.clone(), error.into());
                Err(StoreError::Failed { store, operation: "date", key, source })
            }
        }
    }

    fn path(&self, key: &str) -> Result<Path, StoreError> {
        Path::parse(key).map_err(|error| StoreError::Failed {
            store: self.name.clone(),
            operation: "name",
            key: key.to_owned(),
            source: error.into(),
        })
    }

    async fn timed<T>(
        &self,
        operation: &'static str,
        key: &str,
        size: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        let deadline = BASE_DEADLINE + Duration::from_secs(size / SLOWEST_LINK);
        match tokio::time::timeout(deadline, request).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.explain(operation, key, error)),
            Err(_) => Err(StoreError::Deadline {
                store: self.name.clone(),
                operation,
                key: key.to_owned(),
                deadline,
            }),
        }
    }

    fn explain(&self, operation: &'static str, key: &str, error: object_store::Error) -> StoreError {
        use object_store::Error as E;
        let (store, key) = (self.name.clone(), key.to_owned());
        match error {
            E::NotFound { .. } => StoreError::NotFound { store, key },
            E::AlreadyExists { .. } | E::Precondition { .. } => StoreError::AlreadyExists { store, key },
            error @ (E::PermissionDenied { .. } | E::Unauthenticated { .. }) => {
                StoreError::Denied { store, key, source: error.into() }
            }
            error if is_full(&error) => StoreError::Full { store, key, source: error.into() },
            error if is_denied(&error) => StoreError::Denied { store, key, source: error.into() },
            error => StoreError::Failed { store, operation, key, source: error.into() },
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.name)
    }
}

/// Looks for an operating system error of one of `kinds` in the chain.
fn has_io_error(error: &(dyn Error + 'static), kinds: &[io::ErrorKind]) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|e| kinds.contains(&e.kind())) {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_full(error: &(dyn Error + 'static)) -> bool {
    has_io_error(error, &[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded])
}

fn is_denied(error: &(dyn Error + 'static)) -> bool {
    has_io_error(error, &[io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_is_created_once_and_the_same_bytes_again_are_no_error() {
        let store = Store::memory();
        assert_eq!(store.create("a/b", Bytes::from_static(b"one")).await.unwrap(), Created::Now);
        assert_eq!(store.create("a/b", Bytes::from_static(b"one")).await.unwrap(), Created::Before);
        let other = store.create("a/b", Bytes::from_static(b"two")).await.unwrap_err();
        assert!(matches!(other, StoreError::AlreadyExists { .. }), "{other:?}");
        let longer = store.create("a/b", Bytes::from_static(b"o")).await.unwrap_err();
        assert!(matches!(longer, StoreError::AlreadyExists { .. }), "{longer:?}");
        assert_eq!(store.read("a/b", 3).await.unwrap(), "one");
    }

    #[tokio::test]
    async fn reads_have_a_ceiling_and_missing_objects_a_name() {
        let store = Store::memory();
        store.create("x", Bytes::from_static(b"12345")).await.unwrap();
        assert!(matches!(
            store.read("x", 4).await.unwrap_err(),
            StoreError::TooLarge { found: 5, cap: 4, .. }
        ));
        assert!(matches!(store.read("y", 4).await.unwrap_err(), StoreError::NotFound { .. }));
        assert_eq!(store.read_range("x", 1..3).await.unwrap(), "23");
        assert!(store.read_range("x", 3..9).await.is_err());
    }

    #[tokio::test]
    async fn listings_are_sorted_and_deletes_idempotent() {
        let store = Store::memory();
        for key in ["p/b", "p/a", "q/a"] {
            store.create(key, Bytes::from_static(b"-")).await.unwrap();
        }
        let keys: Vec<_> = store.list("p").await.unwrap().into_iter().map(|e| e.key).collect();
        assert_eq!(keys, ["p/a", "p/b"]);
        store.delete("p/a").await.unwrap();
        store.delete("p/a").await.unwrap();
        assert!(store.entry("p/a").await.unwrap().is_none());
        assert_eq!(store.list("").await.unwrap().len(), 2);
    }
}
