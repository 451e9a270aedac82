//! Creates objects exactly once, whatever happens on the way.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions};

use crate::diagnosis::{AttemptError, lacks_conditions, within};
use crate::error::Effort;
use crate::folder::Wrong;
use crate::retry_budget::pause;
use crate::store::{Store, deadline};
use crate::{StoreError, name};

/// How often a store may report that an object exists, and then that it does not.
const MOST_CONFLICTS: u32 = 5;

/// Whether [`Store::create`] wrote the object or found it with the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object was written now.
    Now,
    /// The same bytes were already stored under that name, by another writer or by an earlier attempt whose answer was
    /// lost.
    Before,
}

/// The result of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Landed,
    /// An object exists, or is being written.
    Stands,
    /// The store does not support conditions.
    Unknown,
}

enum Found {
    Same,
    Other,
    Nothing,
}

impl Store {
    /// Writes an object that must not exist yet, or must exist with the same bytes.
    ///
    /// The final content decides: a retried request may meet its own first attempt, and S3 answers 409 to a race that
    /// nobody won.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let path = name::path(key)?;
        let exists = || StoreError::AlreadyExists { store: self.name().to_owned(), key: key.to_owned() };
        for conflict in 1..=MOST_CONFLICTS {
            if self.put(key, &path, &bytes).await? == Put::Landed {
                return Ok(Created::Now);
            }
            match self.compare(key, &bytes).await? {
                Found::Same => return Ok(Created::Before),
                Found::Other => return Err(exists()),
                Found::Nothing => tokio::time::sleep(pause(conflict)).await,
            }
        }
        let said = "it answers that the object exists, and then that it does not";
        Err(self.failed("write", key, Effort::default(), said))
    }

    /// The same, unless less than `leaving` bytes would stay free on the file system of a folder: the last objects of a
    /// run must find room.
    pub async fn create_leaving(&self, key: &str, bytes: Bytes, leaving: u64) -> Result<Created, StoreError> {
        if let Some(folder) = self.folder()
            && !folder.has_room(leaving.saturating_add(bytes.len() as u64))
        {
            return Err(self.told("write", key, Wrong::full(key)));
        }
        self.create(key, bytes).await
    }

    /// The same for a name that another machine may choose at the same moment. On a store without conditional writes,
    /// reads the object back after writing it: a machine that was overwritten in that moment finds out.
    pub async fn create_alone(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let created = self.create(key, bytes.clone()).await?;
        if created == Created::Before || self.is_conditional() {
            return Ok(created);
        }
        match self.compare(key, &bytes).await? {
            Found::Same => Ok(created),
            Found::Other => {
                Err(StoreError::AlreadyExists { store: self.name().to_owned(), key: key.to_owned() })
            }
            Found::Nothing => {
                let said = "it takes the object, and then answers that it is not there";
                Err(self.failed("write", key, Effort::default(), said))
            }
        }
    }

    /// Tests whether the store honours conditional writes, on an existing object with these bytes. If it does not,
    /// every write checks for an existing object first from now on.
    ///
    /// The test is harmless: a store that ignores the condition replaces the object by its own bytes.
    pub async fn keeps_conditions(&self, key: &str, bytes: Bytes) -> Result<bool, StoreError> {
        let path = name::path(key)?;
        if self.is_conditional() && self.put_on_condition(key, &path, &bytes).await? != Put::Stands {
            self.lose_conditions();
        }
        Ok(self.is_conditional())
    }

    async fn put(&self, key: &str, path: &Path, bytes: &Bytes) -> Result<Put, StoreError> {
        if self.is_conditional() {
            let put = self.put_on_condition(key, path, bytes).await?;
            if put != Put::Unknown {
                return Ok(put);
            }
            self.lose_conditions();
        }
        self.put_after_a_look(key, path, bytes).await
    }

    async fn put_on_condition(&self, key: &str, path: &Path, bytes: &Bytes) -> Result<Put, StoreError> {
        self.attempt("write", key, || async move {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let put = self.backend().put_opts(path, bytes.clone().into(), options);
            match within(deadline(bytes.len() as u64), put).await {
                Ok(_) => Ok(Put::Landed),
                Err(AttemptError::Client(
                    Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. },
                )) => Ok(Put::Stands),
                Err(AttemptError::Client(error)) if lacks_conditions(&error) => Ok(Put::Unknown),
                Err(trouble) => Err(trouble),
            }
        })
        .await
    }

    /// Every attempt checks first, because an earlier one may have succeeded.
    async fn put_after_a_look(&self, key: &str, path: &Path, bytes: &Bytes) -> Result<Put, StoreError> {
        self.attempt("write", key, || async move {
            match within(deadline(0), self.backend().head(path)).await {
                Ok(_) => return Ok(Put::Stands),
                Err(AttemptError::Client(Error::NotFound { .. })) => {}
                Err(trouble) => return Err(trouble),
            }
            let put = self.backend().put(path, bytes.clone().into());
            within(deadline(bytes.len() as u64), put).await?;
            Ok(Put::Landed)
        })
        .await
    }

    /// Compares the object under this name. The size is requested first, because an object of another size need not be
    /// read.
    async fn compare(&self, key: &str, bytes: &Bytes) -> Result<Found, StoreError> {
        let size = bytes.len() as u64;
        match self.entry(key).await? {
            None => Ok(Found::Nothing),
            Some(entry) if entry.size != size => Ok(Found::Other),
            Some(_) => match self.read(key, size).await {
                Ok(found) if found == *bytes => Ok(Found::Same),
                Ok(_) | Err(StoreError::TooLarge { .. }) => Ok(Found::Other),
                Err(StoreError::NotFound { .. }) => Ok(Found::Nothing),
                Err(error) => Err(error),
            },
        }
    }

    fn lose_conditions(&self) {
        if self.give_up_conditions() {
            tracing::warn!(
                "{} cannot write on the condition that nothing stands there: each write looks first instead. What is \
                 lost: if two hosts write the same name in the same moment, both believe that they did, and the later \
                 one's object stays. Give each host a writer key of its own, and never run two copies of one host",
                self.name()
            );
        }
    }
}
