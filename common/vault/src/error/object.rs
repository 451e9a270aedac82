//! What a storage that answered gives instead of a whole object, kept apart by its type from a storage that is out of reach.
//!
//! What is only out of reach is not damaged: it ends what somebody asked for, and nothing follows from it. What is damaged or
//! missing is a finding: it costs one object, and the caller decides whether to go on without it.

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::ids::{FrameName, RunId};

/// What a storage that answered gives instead of a whole object or frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// A stored object is not what it must be: it was damaged, cut, exchanged or forged.
    #[error("the object `{key}` of the repository is damaged: {reason}")]
    Damaged {
        /// The object's name.
        key: String,
        /// What does not hold.
        reason: String,
    },
    /// An object that others refer to is not there.
    #[error("the object `{key}` of the repository is missing")]
    Missing {
        /// The object's name.
        key: String,
    },
    /// Nothing says where a frame lies.
    #[error("no index object says where frame {ordinal} of run {run} lies")]
    LostFrame {
        /// The run.
        run: RunId,
        /// The frame's place in it.
        ordinal: u32,
    },
}

/// What comes of reading an object. The outer error says that the storage is out of reach, and `?` hands it on. The inner one
/// says what is wrong with the object; a caller to whom that makes no difference writes `??`.
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

    /// Tells what is wrong with one object, which must be there, from what is wrong with the storage.
    pub(crate) fn split<T>(read: Result<T, StoreError>) -> Read<T> {
        Ok(Err(match read {
            Ok(read) => return Ok(Ok(read)),
            Err(StoreError::NotFound { key, .. }) => Self::Missing { key },
            Err(StoreError::TooLarge { key, found, cap, .. }) => Self::Damaged {
                key,
                reason: format!("it has {found} bytes, where at most {cap} can be right"),
            },
            Err(StoreError::OutOfRange { key, range, size, .. }) => {
                Self::Damaged { key, reason: format!("it has {size} bytes, and something lies at {range:?}") }
            }
            Err(StoreError::NotAnObject { key, place, obstacle, .. }) => {
                Self::Damaged { key, reason: format!("`{place}` {obstacle}") }
            }
            Err(error) => return Err(error),
        }))
    }
}
