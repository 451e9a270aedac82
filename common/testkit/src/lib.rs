//! For tests only: a store that fails as told, a clock and randomness that do as told, and the contract of stores.

mod clock;
pub mod contract;
mod entropy;
pub mod fault_store;
pub mod loopback;

pub use clock::FakeClock;
pub use entropy::SeededEntropy;
pub use fault_store::FaultStore;
pub use loopback::Loopback;
