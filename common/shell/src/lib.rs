//! What the four binaries share at the edge: flags, logging, signals, progress, errors and exit codes.
//! This is the only crate that prints.
//!
//! A binary's `main` is [`run`] over its clap type and an async function from arguments to [`Outcome`]:
//! arguments in, report out, exit code back.

mod arguments;
mod ask;
pub mod describe;
mod failure;
mod find;
mod flags;
mod help;
mod host;
mod keys;
mod lines;
mod list;
mod new_folder;
mod output;
mod output_file;
pub mod pages;
mod passphrase;
mod registry;
mod repository;
mod run;
mod tag;
mod terminal;
mod tip;
mod ui;
mod which;

pub use failure::{Failure, Outcome};
pub use find::{FindArgs, find};
pub use flags::{GlobalFlags, ProgressForm};
pub use host::{CacheFlags, engine_address, machine_folder, machine_variables, state_folder};
pub use keys::{
    RecoveryFlags, SessionFlags, open_public_repository, open_repository, passphrase_for, recipient,
    recovery_key,
};
pub use list::{ListArgs, list};
pub use new_folder::NewFolders;
pub use output_file::{replace_file, write_output_file};
pub use registry::RegistryFlags;
pub use repository::RepositoryFlags;
pub use run::{Program, left_undone_if_ended_at_once, run, unless_interrupted};
pub use tag::tag;
pub use ui::Ui;
pub use which::{Kind, WhichFlags, one_name};
