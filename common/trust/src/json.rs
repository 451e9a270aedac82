//! JSON that reads the same everywhere: the shapes and limits of the documents in this crate.

use lifeboat_strict::json::{self, Limits, Shape, Structure};
pub(crate) use lifeboat_strict::printable;

/// A statement (in-toto Attestation Framework, "Statement" and `ResourceDescriptor`). Unknown members are ignored, as
/// the framework requires, and the content of a predicate is not restricted.
pub(crate) const STATEMENT: Shape = Shape::Structure(&Structure::open(&[
    ("_type", Shape::Any),
    ("subject", Shape::List(&SUBJECT, MAX_SUBJECTS)),
    ("predicateType", Shape::Any),
    ("predicate", Shape::Any),
]));

const SUBJECT: Shape = Shape::Structure(&Structure::open(&[
    ("name", Shape::Any),
    ("uri", Shape::Any),
    ("digest", Shape::Map(&Shape::Any)),
    ("content", Shape::Any),
    ("downloadLocation", Shape::Any),
    ("mediaType", Shape::Any),
    ("annotations", Shape::Map(&Shape::Any)),
]));

/// How many subjects are scanned before parsing.
const MAX_SUBJECTS: usize = 4096;

/// An envelope (DSSE, `envelope.md`).
pub(crate) const ENVELOPE: Shape = Shape::Structure(&Structure::open(&[
    ("payload", Shape::Any),
    ("payloadType", Shape::Any),
    ("signatures", Shape::List(&SIGNATURE, MAX_SIGNATURES)),
]));

const SIGNATURE: Shape = Shape::Structure(&Structure::open(&[("keyid", Shape::Any), ("sig", Shape::Any)]));

/// How many signatures are scanned before parsing.
const MAX_SIGNATURES: usize = 4096;

/// Scans a whole document that no signature covers yet, and returns why it is refused, if it is.
pub(crate) fn check(document: &[u8]) -> Result<(), String> {
    check_shape(document, &Shape::Any, Limits::UNSIGNED)
}

/// The same for a document whose outermost value must be an object. serde also deserialises structs from arrays, which
/// no other reader does.
pub(crate) fn check_object(document: &[u8]) -> Result<(), String> {
    must_be_object(document)?;
    check(document)
}

/// The same for a document in a closed format, in which only these members are lists. serde would also deserialise the
/// objects inside from arrays.
pub(crate) fn check_closed(document: &[u8], lists: &'static [&'static str]) -> Result<(), String> {
    must_be_object(document)?;
    check_shape(document, &Shape::ListsAt(lists), Limits::UNSIGNED)
}

/// The same for an envelope that no signature covers yet.
pub(crate) fn check_envelope(document: &[u8]) -> Result<(), String> {
    must_be_object(document)?;
    check_shape(document, &ENVELOPE, Limits::UNSIGNED)
}

/// The same for a statement, which may be as large as its predicate.
pub(crate) fn check_statement(document: &[u8]) -> Result<(), String> {
    must_be_object(document)?;
    check_shape(document, &STATEMENT, Limits::SIGNED)
}

fn must_be_object(document: &[u8]) -> Result<(), String> {
    if document.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err("it is not a JSON object".to_owned());
    }
    Ok(())
}

fn check_shape(document: &[u8], shape: &Shape, limits: Limits) -> Result<(), String> {
    json::check(document, shape, limits).map_err(|refusal| refusal.reason)
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
    fn a_statement_has_no_look_alikes_and_its_predicate_may() {
        check_statement(br#"{"_type":"x","subject":[{"digest":{"a":1,"A":2}}],"predicate":{"a":1,"A":2}}"#)
            .unwrap();
        for bad in [
            r#"{"predicateType":"x","PredicateType":"y"}"#,
            r#"{"subject":[],"\u017fubject":[]}"#,
            r#"{"subject":[{"digest":{},"Digest":{}}]}"#,
        ] {
            let reason = check_statement(bad.as_bytes()).unwrap_err();
            assert!(reason.contains("to programs that do not heed case"), "{reason}");
        }
        let reason = check_envelope(br#"{"payload":"","Payload":""}"#).unwrap_err();
        assert!(reason.contains("to programs that do not heed case"), "{reason}");
    }

    #[test]
    fn depth_ends_and_so_does_the_document() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check(nested(Limits::MAX_DEPTH).as_bytes()).unwrap();
        assert!(check(nested(Limits::MAX_DEPTH + 1).as_bytes()).unwrap_err().contains("deep"));
        assert!(check("[".repeat(1_000_000).as_bytes()).is_err());
        assert!(check(b"{} {}").is_err());
        assert!(check(b"{\"a\":\"\xff\"}").is_err());
        assert_eq!(check_object(b" [1]").unwrap_err(), "it is not a JSON object");
    }

    #[test]
    fn members_and_items_are_counted_before_a_signature_is_checked() {
        let items = format!("{{\"a\":[{}0]}}", "0,".repeat(70_000));
        assert!(check_object(items.as_bytes()).unwrap_err().contains("more than 65536 values"));
        check_statement(items.as_bytes()).unwrap();
    }
}
