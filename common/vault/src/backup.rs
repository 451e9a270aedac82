//! Writes snapshots: registers a run, cuts sources into chunks, puts new chunks into packs, and commits the snapshot
//! with a signed manifest.

pub(crate) mod capture;
pub(crate) mod contents_cache;
pub(crate) mod file_cache;
pub(crate) mod keeping;
pub(crate) mod pipeline;
pub(crate) mod register;
mod rescue;
pub(crate) mod run_end;
pub(crate) mod spool;
pub(crate) mod writer;
