//! A run's registration: its key, wrapped, stands in the store before anything that is sealed under it, and the storage's
//! time of that object begins the run's lease.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::format::signed::Body;
use crate::ids::{GroupId, RepositoryId, RunId, WriterId, digest_in_cbor};

/// A run's registration in the store.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct Registration {
    #[n(0)]
    pub(crate) format: u8,
    #[n(1)]
    #[cbor(with = "digest_in_cbor")]
    pub(crate) repository: RepositoryId,
    #[n(2)]
    pub(crate) group: GroupId,
    #[n(3)]
    pub(crate) writer: WriterId,
    #[n(4)]
    pub(crate) run: RunId,
    #[n(5)]
    pub(crate) epoch: u32,
    /// The run key as an age file to the epoch's data recipient.
    #[n(6)]
    pub(crate) wrapped_key: ByteVec,
}

impl Body for Registration {
    fn check_stored(&self, _: usize) -> Result<(), String> {
        Ok(())
    }
}
