//! The index under the tag at which registries without a list of referrers keep them (distribution specification,
//! "Referrers Tag Schema").

use lifeboat_strict::json;
use serde_json::Value;

use super::shared_tag::SharedDocument;
use crate::RegistryError;
use crate::content::{LIST, MANIFEST, OCI_INDEX};

/// The index under a fallback tag, including unknown members.
pub(super) struct FallbackIndex {
    document: serde_json::Map<String, Value>,
    entries: Vec<Value>,
}

impl Default for FallbackIndex {
    fn default() -> Self {
        let mut document = serde_json::Map::new();
        document.insert("schemaVersion".to_owned(), 2.into());
        document.insert("mediaType".to_owned(), OCI_INDEX.into());
        Self { document, entries: Vec::new() }
    }
}

impl FallbackIndex {
    pub(super) fn into_entries(self) -> Vec<Value> {
        self.entries
    }
}

impl SharedDocument for FallbackIndex {
    const MEDIA_TYPE: &'static str = OCI_INDEX;

    fn parse(tag: &str, bytes: &[u8]) -> Result<Self, RegistryError> {
        let what = format!("the index under the tag `{tag}`");
        let malformed =
            |reason: &str| RegistryError::Malformed { what: what.clone(), reason: reason.to_owned() };
        let mut document: serde_json::Map<String, Value> =
            json::read(bytes, &MANIFEST, LIST).map_err(|refusal| RegistryError::refused(&what, refusal))?;
        match document.remove("manifests") {
            Some(Value::Array(entries)) => Ok(Self { document, entries }),
            Some(Value::Null) | None => Err(malformed("it has no `manifests`")),
            Some(_) => Err(malformed("its `manifests` are not a list")),
        }
    }

    fn add(&mut self, seen: &mut Vec<Value>) -> bool {
        let same = |a: &Value, b: &Value| a["digest"] == b["digest"];
        for entry in &self.entries {
            if !seen.iter().any(|known| same(known, entry)) {
                seen.push(entry.clone());
            }
        }
        let before = self.entries.len();
        for entry in seen.iter() {
            if !self.entries.iter().any(|known| same(known, entry)) {
                self.entries.push(entry.clone());
            }
        }
        self.entries.len() > before
    }

    fn to_json(&self) -> (Option<Vec<u8>>, Vec<u8>) {
        let mut document = self.document.clone();
        document.insert("manifests".to_owned(), Value::Array(self.entries.clone()));
        (None, serde_json::to_vec(&document).expect("JSON values always serialise"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_index_keeps_what_it_does_not_know_and_gets_back_what_it_lost() {
        let bytes = json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX, "annotations": {"a": "b"},
            "manifests": [{"digest": "sha256:1", "extra": true}],
        });
        let mut index = FallbackIndex::parse("t", bytes.to_string().as_bytes()).unwrap();
        let mut seen = vec![json!({"digest": "sha256:2"})];
        assert!(index.add(&mut seen));
        assert!(!index.add(&mut seen));
        let written: Value = serde_json::from_slice(&index.to_json().1).unwrap();
        assert_eq!(written["annotations"]["a"], "b");
        assert_eq!(
            written["manifests"],
            json!([{"digest": "sha256:1", "extra": true}, {"digest": "sha256:2"}])
        );

        // Another writer, which had read the empty index, overwrites it.
        let mut overwritten =
            FallbackIndex { entries: vec![json!({"digest": "sha256:3"})], ..Default::default() };
        assert!(overwritten.add(&mut seen));
        assert_eq!(overwritten.entries.len(), 3);
    }

    #[test]
    fn what_is_no_index_is_never_overwritten() {
        for bad in ["{}", "[]", "<html>", r#"{"manifests":1}"#] {
            assert!(FallbackIndex::parse("t", bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
