//! One module per verb.

pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod prune;
pub(crate) mod repair;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod stats;
