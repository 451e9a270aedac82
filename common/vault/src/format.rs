//! The contents of each stored object, byte by byte: the counterpart of `FORMAT.md`, chapter by chapter. Everything
//! here is a pure function of bytes: nothing reads a store.

pub(crate) mod authority;
pub(crate) mod chunk;
pub(crate) mod compression;
pub(crate) mod condemnation;
pub(crate) mod floor;
pub(crate) mod frame;
pub(crate) mod frame_set;
pub(crate) mod index;
pub mod item;
pub(crate) mod item_records;
pub(crate) mod layout;
pub(crate) mod manifest;
pub(crate) mod member_name;
pub(crate) mod name;
pub(crate) mod object_name;
pub(crate) mod pack;
pub(crate) mod registration;
pub(crate) mod request;
pub(crate) mod roster;
pub(crate) mod run_end;
pub(crate) mod seal;
pub(crate) mod signed;

/// The version of the repository format. Version 0 may still change incompatibly.
pub(crate) const FORMAT_VERSION: u8 = 0;
