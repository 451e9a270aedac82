//! One module per verb.

pub(crate) mod attest;
pub(crate) mod blob;
pub(crate) mod image;
pub(crate) mod keygen;
pub(crate) mod snapshot;
