//! Reads the engine's JSON answers without requiring fields that only some versions have.

use std::collections::BTreeMap;

use serde_json::Value;

/// The text at `value`; empty if there is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The text at `value`, if it is there and not empty.
pub(crate) fn some_text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The texts in the list at `value`; an absent list is an empty one.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    some_texts(value).unwrap_or_default()
}

/// The texts in the list at `value`, if there is a list.
pub(crate) fn some_texts(value: &Value) -> Option<Vec<String>> {
    value.as_array().map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The name-to-text map at `value`; an absent one is empty.
pub(crate) fn pairs(value: &Value) -> BTreeMap<String, String> {
    value
        .as_object()
        .map(|map| map.iter().map(|(key, value)| (key.clone(), text(value))).collect())
        .unwrap_or_default()
}

/// The keys of the map at `value`, sorted.
pub(crate) fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> =
        value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
    keys.sort();
    keys
}

/// The list at `value`; empty if there is none.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
