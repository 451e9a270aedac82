//! The identity in a signer's certificate, and who vouches for it.

use std::fmt;

use lifeboat_core::{Fault, Kind};
use regex::Regex;

use crate::json::printable;

/// A pattern for an identity or an issuer. It always matches the whole, never a part.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// This text.
    Exact(String),
    /// A regular expression that matches from start to end.
    Regex {
        /// The expression as given.
        source: String,
        /// The same, anchored.
        anchored: Regex,
    },
}

/// Why a text is not a pattern.
#[derive(Debug, thiserror::Error)]
pub enum BadPattern {
    /// It matches everything or nothing, which nobody means.
    #[error("the expected {what} is empty")]
    Empty {
        /// `identity` or `issuer`.
        what: &'static str,
    },
    /// The regular expression cannot be compiled.
    #[error("`{}` is not a regular expression", printable(text))]
    NotARegex {
        /// The text.
        text: String,
        /// The compiler's error.
        source: Box<regex::Error>,
    },
}

impl Fault for BadPattern {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Empty { what } => format!("say which {what} the certificate must name"),
            Self::NotARegex { .. } => {
                "write it in the syntax of Rust's regex crate, which is close to RE2".to_owned()
            }
        })
    }
}

impl Pattern {
    /// A pattern of one text. `what` is `identity` or `issuer`.
    pub fn exact(what: &'static str, text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() { Err(BadPattern::Empty { what }) } else { Ok(Self::Exact(text.to_owned())) }
    }

    /// A pattern of a regular expression, which is anchored at both ends.
    pub fn regex(what: &'static str, text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty { what });
        }
        let not = |error| BadPattern::NotARegex { text: text.to_owned(), source: Box::new(error) };
        // Compiled alone first: a text such as `a)|(b` must not escape from the group that anchors it.
        Regex::new(text).map_err(not)?;
        let anchored = Regex::new(&format!(r"\A(?:{text})\z")).map_err(not)?;
        Ok(Self::Regex { source: text.to_owned(), anchored })
    }

    /// Whether the pattern matches the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(expected) => expected == text,
            Self::Regex { anchored, .. } => anchored.is_match(text),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Regex { source, .. } => write!(f, "/{source}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_texts_only() {
        let exact = Pattern::exact("identity", "ann@example.com").unwrap();
        assert!(exact.matches("ann@example.com"));
        assert!(!exact.matches("ann@example.com.evil.example"));
        let regex = Pattern::regex("identity", "https://github.com/acme/.*|x").unwrap();
        assert!(regex.matches("https://github.com/acme/app"));
        assert!(regex.matches("x"));
        for other in
            ["https://evil.example/?https://github.com/acme/app", "xx", "https://github.com/acme/a\nb"]
        {
            assert!(!regex.matches(other), "{other}");
        }
        assert!(!Pattern::regex("identity", "a$").unwrap().matches("a\n"));
    }

    #[test]
    fn what_would_break_out_of_the_anchors_or_match_everything_is_refused() {
        for bad in ["", "(", "a)|(?:b", "[z-a]"] {
            assert!(Pattern::regex("identity", bad).is_err(), "{bad}");
        }
        assert!(Pattern::exact("issuer", "").is_err());
    }
}
