//! For tests only: a store that fails as told, a clock and randomness that do as told, the contract of stores, and the
//! corpus of fuzz targets.

mod clock;
pub mod contract;
pub mod corpus;
mod entropy;
pub mod fault_store;
pub mod loopback;

pub use clock::FakeClock;
pub use entropy::SeededEntropy;
pub use fault_store::FaultStore;
pub use loopback::Loopback;
