//! Committed snapshots: every writer's history, which snapshots to keep, and what can be seen and checked of a snapshot
//! without opening its contents.

pub(crate) mod countersign;
pub(crate) mod history;
pub(crate) mod retention;
pub(crate) mod select;
pub(crate) mod snapshot;
pub(crate) mod statistics;
pub(crate) mod summary;
pub(crate) mod trusted_contents;
