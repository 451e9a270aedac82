//! Rehearsing a restore: a snapshot is restored into a sandbox, compared with what was captured, started, and checked.
//!
//! The drill knows a snapshot only as a [`RecoveryPoint`]. [`rehearse`] runs it by a [`Plan`] and returns a
//! [`lifeboat_report::drill::DrillReport`]; a drill that finds a problem is a report, not an error.

mod boot;
mod caveats;
mod checks;
mod drill;
mod grounds;
mod guard;
mod plan;
mod point;
mod proof;
mod room;
mod stop;
mod tree_removal;
mod verdict;
pub mod watchdog;

pub use drill::{DrillOptions, rehearse};
pub use grounds::{FolderError, Grounds, GroundsError, Swept};
pub use plan::{Action, Check, Expectation, Plan, PlanError, SqlEngine};
pub use point::{PointError, RecoveryPoint, RestoredVolume, SnapshotVolume, SourceKind};
pub use stop::DrillError;
