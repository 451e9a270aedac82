//! The vocabulary of Lifeboat: what two crates that cannot depend on each other both need to say.
//!
//! Nothing here does input or output, except the two seams ([`clock`] and [`random`]) through which every
//! crate reads the time and draws randomness, so that tests can stand in for both, and the two careful ways to
//! the file system that every crate needs: reading under a ceiling ([`limits`]) and private folders
//! ([`private_folder`]).

pub mod clock;
pub mod digest;
pub mod failure;
pub mod limits;
pub mod private_folder;
pub mod progress;
pub mod random;
pub mod text;

pub use digest::Sha256Digest;
pub use failure::{Fault, Kind};
