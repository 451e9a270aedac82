//! The log of a store's calls.

/// A store's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Write an object.
    Put,
    /// Read a whole object.
    Get,
    /// Read a part of an object.
    GetRange,
    /// Look up an object's size and time.
    Head,
    /// List objects.
    List,
    /// Remove an object.
    Delete,
    /// Copy an object.
    Copy,
    /// Rename an object.
    Rename,
    /// Begin an upload in parts.
    Multipart,
}

/// One call, whether or not it succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its number among all calls since the store was made, from 1.
    pub number: u64,
    /// The operation.
    pub operation: Operation,
    /// The object's name, or the prefix of a listing.
    pub key: String,
    /// Bytes sent by a put, or returned by a get; the number of entries of a listing.
    pub bytes: u64,
    /// Whether it was a write on the condition that the object does not exist.
    pub is_conditional: bool,
    /// Whether a rule or the store's death changed the answer.
    pub is_faulted: bool,
}
