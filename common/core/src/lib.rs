//! The vocabulary of Lifeboat: what two crates that cannot depend on each other both need to say.
//!
//! Nothing here does input or output, except the two seams ([`clock`] and [`random`]) through which every
//! crate reads the time and draws randomness, so that tests can stand in for both.

pub mod clock;
pub mod digest;
pub mod failure;
pub mod limits;
pub mod progress;
pub mod random;

pub use digest::Sha256Digest;
pub use failure::{Fault, Kind};
