//! JSON that reads the same everywhere (RFC 8259, section 4: "names within an object SHOULD be unique").
//!
//! Two differences between parsers are closed off:
//!
//! * Of two members with the same name, some parsers take the first and some the last. No name may occur twice, however
//!   it is written.
//! * Go's `encoding/json`, which most container tools use, finds the members of a structure "preferring exact matches
//!   but also accepting case-insensitive matches" (its documentation of `Unmarshal`), by Unicode simple case folding,
//!   and the last one wins. In what a [`Shape`] calls a structure, no two names may be equal after folding, and none
//!   may differ from a known one only in case. The names of a map are free: `a` and `A` are two annotations.
//!
//! The whole document is checked, without copying it and under ceilings, before any of it is parsed into a type.

mod fold;
mod scan;

use serde::Deserialize;
use serde_json::de::from_slice;

pub use self::fold::fold;
use crate::Refusal;

/// The expected value at a place in a document.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Anything. Its objects are free maps.
    Any,
    /// A list, or null: of values of one shape, at most this many.
    List(&'static Shape, usize),
    /// An object with arbitrary names, or null.
    Map(&'static Shape),
    /// An object whose names have a meaning, or null.
    Structure(&'static Structure),
    /// An object, text, number or null. Lists may be the values of these members only, and may not contain lists: where
    /// a type is deserialised from the document, a list could replace an object, with its members in order.
    ListsAt(&'static [&'static str]),
}

/// An object whose names have a meaning.
#[derive(Debug)]
pub struct Structure {
    /// The known members.
    pub members: &'static [(&'static str, Shape)],
    /// Whether the format has no others.
    pub closed: bool,
}

impl Structure {
    /// A structure that may have unknown members.
    pub const fn open(members: &'static [(&'static str, Shape)]) -> Self {
        Self { members, closed: false }
    }

    /// A structure that has no other members.
    pub const fn closed(members: &'static [(&'static str, Shape)]) -> Self {
        Self { members, closed: true }
    }
}

/// Ceilings for a document. The caller caps its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How deeply values may be nested.
    pub depth: usize,
    /// How many members and list items there may be in all.
    pub values: usize,
    /// How many bytes a string with escapes may have, because it must be copied.
    pub escaped: usize,
}

impl Limits {
    /// How deeply values may be nested. The deepest signed documents, SBOMs, need less than half of it.
    pub const MAX_DEPTH: usize = 64;

    /// For what is not covered by a signature yet: manifests, bundles, lists.
    pub const UNSIGNED: Self = Self { depth: Self::MAX_DEPTH, values: 1 << 16, escaped: 1 << 20 };

    /// For what a signature covers: an SBOM of the largest supported size has fewer.
    pub const SIGNED: Self = Self { depth: Self::MAX_DEPTH, values: 1 << 23, escaped: usize::MAX };
}

/// Checks a whole document, and returns why it is refused, if it is.
pub fn check(document: &[u8], shape: &Shape, limits: Limits) -> Result<(), Refusal> {
    scan::scan(document, shape, limits)
}

/// Parses a document of this shape.
pub fn read<'d, T: Deserialize<'d>>(document: &'d [u8], shape: &Shape, limits: Limits) -> Result<T, Refusal> {
    check(document, shape, limits)?;
    from_slice(document).map_err(|error| Refusal::malformed(error.to_string()))
}

#[cfg(test)]
mod tests;
