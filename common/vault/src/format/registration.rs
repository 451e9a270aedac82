//! A run's registration: its wrapped key is stored before anything that is sealed under it, and the storage's time of
//! that object begins the run's lease.

use lifeboat_core::Sha256Digest;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::format::layout::{self, cap};
use crate::format::seal::Purpose;
use crate::format::signed::Body;
use crate::ids::{GroupId, RepositoryId, RunId, Signer, WriterId, digest_in_cbor};

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
    const PURPOSE: Purpose = Purpose::Registration;
    const CAP: u64 = cap::KEY;

    fn name(&self, group: GroupId, _: Signer, _: &Sha256Digest) -> String {
        layout::run(group, self.run)
    }

    fn check_stored(&self, _: usize) -> Result<(), String> {
        Ok(())
    }
}
