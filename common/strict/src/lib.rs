//! JSON documents and tar archives from outside, read strictly: anything that two programs could read differently is
//! refused.
//!
//! A signature covers bytes, and each program that looks at the bytes afterwards has its own parser. Those of container
//! tools differ in which of two members they take, in whether the case of a name matters, and in which file of an
//! archive has a name. Whatever this crate accepts means the same to all of them; everything else is refused with the
//! evidence, and nothing is guessed.
//!
//! * [`json`]: names of members, shape, ceilings.
//! * [`tar`]: the archive that holds an image. The archives inside it, its layers, are identified by their digests,
//!   compressed or not, and not read here.

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod json;
pub mod tar;

/// Why something from outside is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The kind of fault.
    pub fault: Fault,
    /// What was found, and where.
    pub reason: String,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It violates its format, and no program should read it.
    Malformed,
    /// Programs differ in how they read it.
    Ambiguous,
    /// It is larger than anything of its kind needs to be.
    TooLarge,
}

impl Refusal {
    fn malformed(reason: impl Into<String>) -> Self {
        Self { fault: Fault::Malformed, reason: reason.into() }
    }

    fn ambiguous(reason: impl Into<String>) -> Self {
        Self { fault: Fault::Ambiguous, reason: reason.into() }
    }

    fn too_large(reason: impl Into<String>) -> Self {
        Self { fault: Fault::TooLarge, reason: reason.into() }
    }
}

/// At most 240 characters of a text from outside, with control characters escaped.
pub fn printable(text: &str) -> String {
    text.chars().take(240).flat_map(char::escape_default).collect()
}
