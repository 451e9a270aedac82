//! JSON that reads the same everywhere: no member stands twice, and nothing is nested beyond reason.
//!
//! Parsers differ in which of two members of the same name they take, so a document with such a pair says one thing to
//! whoever signed it and another to whoever verifies it (RFC 8259, section 4).

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// How deeply values may be nested. The deepest documents that are signed, SBOMs, stay below half of it.
const MAX_DEPTH: usize = 64;

/// Reads all of a document and says why it could be read in two ways, if it could.
pub(crate) fn check(document: &[u8]) -> Result<(), String> {
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    Walk { depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| error.to_string())
}

/// The same for a document whose outermost value must be an object. serde reads structs from arrays as well, which no
/// other reader does.
pub(crate) fn check_object(document: &[u8]) -> Result<(), String> {
    if document.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err("it is not a JSON object".to_owned());
    }
    check(document)
}

/// At most 240 characters of a text that came from outside, with control characters escaped.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(240).flat_map(char::escape_default).collect()
}

/// A value that is looked at and not kept.
#[derive(Clone, Copy)]
struct Walk {
    depth: usize,
}

impl Walk {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format!("nested more than {MAX_DEPTH} deep")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let below = self.deeper()?;
        while items.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let below = self.deeper()?;
        let mut names = BTreeSet::new();
        while let Some(Name(name)) = members.next_key()? {
            members.next_value_seed(below)?;
            if let Some(twice) = names.replace(name) {
                return Err(A::Error::custom(format!("the member `{}` stands twice", printable(&twice))));
            }
        }
        Ok(())
    }
}

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_stands_twice_is_found_however_it_is_written() {
        check(br#"{"a":{"b":[1,2.5,-3,null,true,"x"]},"c":{"b":1}}"#).unwrap();
        for twice in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"b":2,"a":3}]}"#, r#"{"a":1,"\u0061":2}"#] {
            let reason = check(twice.as_bytes()).unwrap_err();
            assert!(reason.starts_with("the member `a` stands twice"), "{reason}");
        }
    }

    #[test]
    fn depth_ends_and_so_does_the_document() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check(nested(MAX_DEPTH).as_bytes()).unwrap();
        assert!(check(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err().contains("deep"));
        assert!(check("[".repeat(1_000_000).as_bytes()).is_err());
        assert!(check(b"{} {}").is_err());
        assert!(check(b"{\"a\":\"\xff\"}").is_err());
        assert_eq!(check_object(b" [1]").unwrap_err(), "it is not a JSON object");
    }
}
