//! Into the repository: a run is registered, sources are cut into chunks, new chunks go into packs, and a signed manifest
//! commits the snapshot.

pub(crate) mod capture;
pub(crate) mod contents_cache;
pub(crate) mod file_cache;
pub(crate) mod keeping;
pub(crate) mod pipeline;
pub(crate) mod register;
pub(crate) mod run_end;
pub(crate) mod spool;
pub(crate) mod writer;
