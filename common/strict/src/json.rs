//! JSON that reads the same everywhere (RFC 8259, section 4: "names within an object SHOULD be unique").
//!
//! Two differences between parsers are closed off:
//!
//! * Of two members of one name some take the first, some the last. No name may stand twice, however it is written.
//! * Go's `encoding/json`, which most container tools use, finds the members of a structure "preferring exact matches but
//!   also accepting case-insensitive matches" (its documentation of `Unmarshal`), by Unicode simple case folding, and the
//!   last one wins. In what a [`Shape`] calls a structure no two names may be equal after folding, and none may be written
//!   like a known one but for its case. The names of a map are free: `a` and `A` are two annotations.
//!
//! The whole document is looked at before any of it is parsed into a type, without a copy of it, under ceilings.

mod fold;
mod scan;

use serde::Deserialize;
use serde_json::de::from_slice;

pub use self::fold::fold;
use crate::Refusal;

/// What a value of a document is to be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Anything. Its objects are free maps.
    Any,
    /// A list, or nothing: of values of one shape, at most so many.
    List(&'static Shape, usize),
    /// An object whose names are free, or nothing.
    Map(&'static Shape),
    /// An object whose names mean something, or nothing.
    Structure(&'static Structure),
    /// An object, text, number or nothing. Lists stand as members of these names alone, and hold no lists themselves:
    /// where a type is read from the document, a list could stand for the members of an object in their order.
    ListsAt(&'static [&'static str]),
}

/// An object whose names mean something.
#[derive(Debug)]
pub struct Structure {
    /// The members that are known.
    pub members: &'static [(&'static str, Shape)],
    /// Whether the format has no others.
    pub closed: bool,
}

impl Structure {
    /// A structure that may have members that are not known.
    pub const fn open(members: &'static [(&'static str, Shape)]) -> Self {
        Self { members, closed: false }
    }

    /// A structure that has no other members.
    pub const fn closed(members: &'static [(&'static str, Shape)]) -> Self {
        Self { members, closed: true }
    }
}

/// Ceilings of a document. Its bytes are capped by whoever reads them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How deeply values may be nested.
    pub depth: usize,
    /// How many members and list items there may be in all.
    pub values: usize,
    /// How many bytes a string may have that is written with escapes, which must be copied to be read.
    pub escaped: usize,
}

impl Limits {
    /// How deeply values may be nested. The deepest documents that are signed, SBOMs, stay below half of it.
    pub const MAX_DEPTH: usize = 64;

    /// For what no signature covers yet: manifests, bundles, lists.
    pub const UNSIGNED: Self = Self { depth: Self::MAX_DEPTH, values: 1 << 16, escaped: 1 << 20 };

    /// For what a signature covers: an SBOM of the largest size that is attested has fewer.
    pub const SIGNED: Self = Self { depth: Self::MAX_DEPTH, values: 1 << 23, escaped: usize::MAX };
}

/// Looks at all of a document, and says why it is not read, if it is not.
pub fn check(document: &[u8], shape: &Shape, limits: Limits) -> Result<(), Refusal> {
    scan::scan(document, shape, limits)
}

/// Reads a document of this shape.
pub fn read<'d, T: Deserialize<'d>>(document: &'d [u8], shape: &Shape, limits: Limits) -> Result<T, Refusal> {
    check(document, shape, limits)?;
    from_slice(document).map_err(|error| Refusal::malformed(error.to_string()))
}

#[cfg(test)]
mod tests;
