//! One module per verb.

pub(crate) mod attestation;
pub(crate) mod blob;
pub(crate) mod image;
pub(crate) mod replay;
pub(crate) mod snapshot;
pub(crate) mod tree;
pub(crate) mod trusted_root;
