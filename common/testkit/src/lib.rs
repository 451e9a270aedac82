//! For tests only: a store that fails on demand, a fake clock and seeded randomness, the contract of stores, the corpus
//! of fuzz targets, and data to back up.

mod clock;
pub mod contract;
pub mod corpus;
mod entropy;
pub mod fault_store;
pub mod loopback;
mod sources;

pub use clock::FakeClock;
pub use entropy::SeededEntropy;
pub use fault_store::FaultStore;
pub use loopback::Loopback;
pub use sources::{context, noise, silent};
