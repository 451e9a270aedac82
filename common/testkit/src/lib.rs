//! For tests only: a store that fails as told, a clock and randomness that do as told, and the contract of stores.

mod clock;
mod entropy;
pub mod fault_store;

pub use clock::FakeClock;
pub use entropy::SeededEntropy;
pub use fault_store::FaultStore;
