//! The mark that a run is over, although it left no snapshot.

use lifeboat_core::Sha256Digest;
use minicbor::{Decode, Encode};

use crate::format::layout::{self, cap};
use crate::format::seal::Purpose;
use crate::format::signed::Body;
use crate::ids::{GroupId, RunId, Signer};

/// A run's end in the store.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct RunEnd {
    #[n(0)]
    pub(crate) run: RunId,
}

impl Body for RunEnd {
    const PURPOSE: Purpose = Purpose::RunEnd;
    const CAP: u64 = cap::KEY;

    fn name(&self, group: GroupId, _: Signer, _: &Sha256Digest) -> String {
        layout::run_end(group, self.run)
    }

    fn check_stored(&self, _: usize) -> Result<(), String> {
        Ok(())
    }
}
