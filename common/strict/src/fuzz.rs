//! The functions that this crate's fuzz targets call. Each returns whether its bytes were accepted, and panics if
//! another reader finds something different in them.
//!
//! None of this is in the product: it is built for tests, and for the fuzz targets by the feature `fuzz`.

#![expect(clippy::missing_panics_doc, reason = "a panic is what these functions are there to find")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use lifeboat_core::Sha256Digest;

use crate::json::{self, Limits, Shape, Structure};
use crate::tar::{Archive, normalise, refusal};

/// The largest member that is read.
const CAP: u64 = 1 << 20;

/// An archive that holds an image. The crate `tar`, which reads an archive sequentially, must find the same files.
pub fn archive(bytes: &[u8]) -> bool {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("room for it");
    let archive = match Archive::of(file) {
        Ok(archive) => archive,
        Err(error) => {
            assert!(refusal(&error).is_some(), "{error}");
            return false;
        }
    };
    let names: Vec<String> = archive.names().map(str::to_owned).collect();
    for name in &names {
        let Ok(content) = archive.read(name, CAP) else { continue };
        assert_eq!(archive.digest(name).expect("it was read"), Sha256Digest::of(&content));
        if let Err(error) = archive.unpacked_digest(name) {
            assert!(refusal(&error).is_some(), "{error}");
        }
    }
    for (name, content) in files_found_by_running_through(bytes) {
        let own = archive.read(&name, CAP).unwrap_or_else(|error| panic!("`{name}` is not found: {error}"));
        assert_eq!(own, content, "`{name}`");
    }
    true
}

/// The files that a sequential reader finds, by name.
fn files_found_by_running_through(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut other = tar::Archive::new(bytes);
    for entry in other.entries().into_iter().flatten() {
        let Ok(mut entry) = entry else { break };
        let name = String::from_utf8(entry.path_bytes().into_owned()).ok().and_then(|name| normalise(&name));
        let mut content = Vec::new();
        let is_file = entry.header().entry_type().is_file();
        if let (Some(name), true, Ok(_)) = (name, is_file, entry.by_ref().take(CAP).read_to_end(&mut content))
        {
            found.insert(name, content);
        }
    }
    found
}

/// A document, checked against one of several shapes. If it is accepted, serde must read it with the same names.
pub fn document(bytes: &[u8]) -> bool {
    const INNER: Shape = Shape::Structure(&Structure::open(&[("digest", Shape::Map(&Shape::Any))]));
    const SHAPES: [Shape; 4] = [
        Shape::Any,
        Shape::ListsAt(&["list"]),
        Shape::Structure(&Structure::open(&[("subject", Shape::List(&INNER, 16)), ("name", Shape::Any)])),
        Shape::Structure(&Structure::closed(&[("subject", Shape::List(&INNER, 16)), ("name", Shape::Any)])),
    ];
    let passes = SHAPES.map(|shape| json::check(bytes, &shape, Limits::UNSIGNED).is_ok());
    let [any, lists, open, closed] = passes;
    assert!(any || !(lists || open || closed), "what has a shape is a document");
    assert!(open || !closed, "what has no other members has no ambiguous ones");
    if any && let Err(error) = serde_json::from_slice::<serde_json::Value>(bytes) {
        // A document may contain numbers that no machine type can hold.
        assert!(error.to_string().contains("out of range"), "{error}");
    }
    any
}

#[cfg(test)]
mod tests {
    use lifeboat_testkit::corpus::Corpus;

    #[test]
    fn every_file_of_the_corpus_is_replayed() {
        let corpus = Corpus::of_crate(env!("CARGO_MANIFEST_DIR"));
        for (target, read) in
            [("archive", super::archive as fn(&[u8]) -> bool), ("document", super::document)]
        {
            let replayed = corpus.replay(target, read);
            assert!(replayed.read.len() >= 2 && replayed.refused.len() >= 2, "{target}: {replayed:?}");
        }
        corpus.check_targets(&[("archive", "fuzz::archive"), ("document", "fuzz::document")]);
    }
}
