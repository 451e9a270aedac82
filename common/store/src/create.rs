//! Creating objects: once, whatever happens on the way.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions};

use crate::diagnosis::{Trouble, lacks_conditions, within};
use crate::error::Effort;
use crate::folder::Wrong;
use crate::patience::pause;
use crate::store::{Store, deadline};
use crate::{StoreError, name};

/// So often a store may say that an object exists, and then that it does not.
const MOST_CONFLICTS: u32 = 5;

/// Whether [`Store::create`] wrote the object or found it there with the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object was written now.
    Now,
    /// The same bytes already stood under that name: another's, or those of a first try whose answer was lost.
    Before,
}

/// What came of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Landed,
    /// Something stands there, or is on its way.
    Stands,
    /// The store knows no conditions.
    Unknown,
}

enum Found {
    Same,
    Other,
    Nothing,
}

impl Store {
    /// Writes an object that must not be there yet, or be there with the same bytes.
    ///
    /// What counts is what stands there in the end: a retried request may meet its own first try, and S3 answers 409 to
    /// a race of which nothing landed.
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

    /// The same, unless less than `leaving` bytes would stay free on the file system of a folder: what is written there last
    /// must find room.
    pub async fn create_leaving(&self, key: &str, bytes: Bytes, leaving: u64) -> Result<Created, StoreError> {
        if let Some(folder) = self.folder()
            && !folder.has_room(leaving.saturating_add(bytes.len() as u64))
        {
            return Err(self.told("write", key, Wrong::full(key)));
        }
        self.create(key, bytes).await
    }

    /// The same for a name that another machine may choose at the same moment. On a store that knows no conditions, what
    /// is there is read back after the write: a machine that was overwritten in that moment learns of it.
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

    /// Whether the store keeps the promise that a conditional write never replaces an object, tried on one that stands
    /// there with these bytes. A store that does not is looked at before each write from now on.
    ///
    /// The try is harmless: a store that ignores the condition replaces the object by its own bytes.
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
                Err(Trouble::Client(
                    Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. },
                )) => Ok(Put::Stands),
                Err(Trouble::Client(error)) if lacks_conditions(&error) => Ok(Put::Unknown),
                Err(trouble) => Err(trouble),
            }
        })
        .await
    }

    /// Every attempt looks first: the one before may have landed.
    async fn put_after_a_look(&self, key: &str, path: &Path, bytes: &Bytes) -> Result<Put, StoreError> {
        self.attempt("write", key, || async move {
            match within(deadline(0), self.backend().head(path)).await {
                Ok(_) => return Ok(Put::Stands),
                Err(Trouble::Client(Error::NotFound { .. })) => {}
                Err(trouble) => return Err(trouble),
            }
            let put = self.backend().put(path, bytes.clone().into());
            within(deadline(bytes.len() as u64), put).await?;
            Ok(Put::Landed)
        })
        .await
    }

    /// What stands under the name. The size is asked first: an object of another size need not be read.
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
