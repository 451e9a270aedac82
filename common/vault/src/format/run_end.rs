//! The mark that a run is over, though it left no snapshot.

use minicbor::{Decode, Encode};

use crate::format::signed::Body;
use crate::ids::RunId;

/// A run's end in the store.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct RunEnd {
    #[n(0)]
    pub(crate) run: RunId,
}

impl Body for RunEnd {
    fn check_stored(&self, _: usize) -> Result<(), String> {
        Ok(())
    }
}
