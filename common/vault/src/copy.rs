//! From one repository into another: an open snapshot is a source as well.

pub(crate) mod copier;
pub(crate) mod source;
