//! JSON documents and tar archives from outside, read strictly: what two programs could read in two ways is refused.
//!
//! A signature covers bytes, and each program that looks at the bytes afterwards has a parser of its own. Those of
//! container tools differ in which of two members they take, in whether the case of a name matters, and in which file of
//! an archive bears a name. What passes here says the same thing to all of them; what does not is refused with the
//! evidence, and nothing is guessed.
//!
//! * [`json`]: names of members, shape, ceilings.
//! * [`tar`]: the archive that holds an image. The archives inside of it, its layers, are known by their digests, packed
//!   or not, and not read here.

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod json;
pub mod tar;

/// Why something from outside is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// What kind of fault it is.
    pub fault: Fault,
    /// What was found, and where.
    pub reason: String,
}

/// What is wrong with something from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It breaks its format, and no program should read it.
    Malformed,
    /// Programs differ in how they read it.
    Ambiguous,
    /// It holds more than anything of its kind needs.
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

/// At most 240 characters of a text that came from outside, with control characters escaped.
pub fn printable(text: &str) -> String {
    text.chars().take(240).flat_map(char::escape_default).collect()
}
