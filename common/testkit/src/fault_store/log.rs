//! The log of what was asked of a store.

/// What a store can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Write an object.
    Put,
    /// Read an object whole.
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

/// One call, whatever came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its place among all calls since the store was made, from 1.
    pub number: u64,
    /// What was asked.
    pub operation: Operation,
    /// The object's name, or the prefix of a listing.
    pub key: String,
    /// Bytes sent by a put, or given by a get; the number of entries of a listing.
    pub bytes: u64,
    /// Whether it was a write on the condition that nothing stands there.
    pub is_conditional: bool,
    /// Whether a rule or the store's death changed the answer.
    pub is_faulted: bool,
}
