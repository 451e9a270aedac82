//! The vocabulary of Lifeboat: what two crates that cannot depend on each other both need.
//!
//! Nothing here does input or output, with two exceptions: the seams ([`clock`] and [`random`]) through which every
//! crate reads the time and draws randomness, so that tests can replace both; and the two careful ways to use the file
//! system that every crate needs, reading under a ceiling ([`limits`]) and private folders ([`private_folder`]).

pub mod clock;
pub mod context;
pub mod digest;
pub mod failure;
pub mod limits;
pub mod private_folder;
pub mod progress;
pub mod random;
pub mod text;

pub use context::Context;
pub use digest::Sha256Digest;
pub use failure::{Fault, Kind};
