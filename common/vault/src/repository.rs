//! An open repository: its roster, this machine's record of it, and how its objects are read and stored. What a key
//! opens of it is in [`access`] and [`recovery_session`].

pub(crate) mod access;
pub(crate) mod batch;
pub(crate) mod condemnations;
pub(crate) mod contents;
pub(crate) mod listing;
pub(crate) mod locate;
pub(crate) mod object_cache;
pub(crate) mod objects;
pub(crate) mod open;
pub(crate) mod pins;
pub(crate) mod recovery_session;
pub(crate) mod repack;
pub(crate) mod rosters;
pub(crate) mod storage_clock;
