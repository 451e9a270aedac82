//! The storage's clock, by which everything ages.

use bytes::Bytes;
use jiff::Timestamp;
use lifeboat_store::StoreError;

use crate::error::{ObjectError, VaultError};
use crate::format::layout;
use crate::repository::open::Repository;

impl Repository {
    /// The time by the storage's clock, from an object that is stored, inspected and deleted again. Nobody else may use
    /// its `name`. The inner error says why this key cannot store it.
    pub(crate) async fn storage_time(
        &self,
        name: [u8; 16],
    ) -> Result<Result<Timestamp, StoreError>, VaultError> {
        let key = format!("{}/{}", layout::CLOCK, hex::encode(name));
        if let Err(error) = self.store.create(&key, Bytes::from_static(b"now")).await {
            return Ok(Err(error));
        }
        let entry = self.store.entry(&key).await;
        self.store.delete(&key).await?;
        match entry? {
            Some(entry) => Ok(Ok(entry.modified)),
            None => Err(ObjectError::Missing { key }.into()),
        }
    }
}
