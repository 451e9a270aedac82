//! Copies from one repository into another: an open snapshot is also a source.

pub(crate) mod copier;
pub(crate) mod source;
