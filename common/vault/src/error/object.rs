//! The errors of single objects, if the storage answered: a type separate from the errors of an unreachable storage.
//!
//! An unreachable object is not damaged: the error ends the operation, and nothing follows from it. A damaged or
//! missing object is a finding: it costs one object, and the caller decides whether to continue without it. So it does
//! for an object that is out of this user's reach, from whose absence nothing follows either.

use lifeboat_core::Sha256Digest;
use lifeboat_store::{Obstacle, PassedOver, StoreError};

use crate::ids::{FrameName, RunId};

/// Why the storage, which answered, has no whole object or frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// A stored object is invalid: it was damaged, cut, exchanged or forged.
    #[error("the object `{key}` of the repository is damaged: {reason}")]
    Damaged {
        /// The object's name.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object that others refer to does not exist.
    #[error("the object `{key}` of the repository is missing")]
    Missing {
        /// The object's name.
        key: String,
    },
    /// Something is in the way that may hide an object from this user, though others may see it: whether the object
    /// exists and is whole is unknown.
    #[error("`{place}` {obstacle}: what the repository has there cannot be read")]
    OutOfReach {
        /// The object's name, or the name of a folder in it.
        place: String,
        /// What is there.
        obstacle: Obstacle,
    },
    /// No index object has the place of a frame.
    #[error("no index object has the place of frame {ordinal} of run {run}")]
    LostFrame {
        /// The run.
        run: RunId,
        /// The frame's place in it.
        ordinal: u32,
    },
}

/// The result of reading an object. The outer error means that the storage is unreachable, and `?` passes it on. The
/// inner one is a fault of the object; a caller that does not distinguish them writes `??`.
pub(crate) type Read<T> = Result<Result<T, ObjectError>, StoreError>;

impl ObjectError {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a reason is most often a literal or an error at its end"
    )]
    pub(crate) fn damaged(key: impl Into<String>, reason: impl ToString) -> Self {
        Self::Damaged { key: key.into(), reason: reason.to_string() }
    }

    /// The stored bytes do not have the hash that names them.
    pub(crate) fn other_hash(key: &str, expected: &Sha256Digest, found: &Sha256Digest) -> Self {
        Self::damaged(key, format!("its SHA-256 is {found}, not {expected}"))
    }

    pub(crate) fn lost(frame: FrameName) -> Self {
        Self::LostFrame { run: frame.run, ordinal: frame.ordinal }
    }

    /// The objects at or below a place that a listing passed over.
    pub(crate) fn out_of_reach(passed: &PassedOver) -> Self {
        Self::OutOfReach { place: passed.place.clone(), obstacle: passed.obstacle }
    }

    /// Separates a fault of one object, which must exist, from a fault of the storage.
    pub(crate) fn split<T>(read: Result<T, StoreError>) -> Read<T> {
        Ok(Err(match read {
            Ok(read) => return Ok(Ok(read)),
            Err(StoreError::NotFound { key, .. }) => Self::Missing { key },
            Err(StoreError::TooLarge { key, found, cap, .. }) => {
                Self::Damaged { key, reason: format!("it has {found} bytes, more than the maximum of {cap}") }
            }
            Err(StoreError::OutOfRange { key, range, size, .. }) => {
                Self::Damaged { key, reason: format!("it has {size} bytes, but {range:?} should exist") }
            }
            Err(StoreError::NotAnObject { place, obstacle, .. }) if obstacle.may_hide_objects() => {
                Self::OutOfReach { place, obstacle }
            }
            Err(StoreError::NotAnObject { key, place, obstacle, .. }) => {
                Self::Damaged { key, reason: format!("`{place}` {obstacle}") }
            }
            Err(error) => return Err(error),
        }))
    }
}
