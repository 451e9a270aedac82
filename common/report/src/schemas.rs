//! The schemas in `docs/json`, generated from the report types so that they match the output.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lifeboat_core::Kind;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::Report;

/// A time in the form that documents have.
pub(crate) struct Moment;

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "pattern": "Z$" })
    }
}

/// The kinds of failure, whose type is in a crate below this one.
pub(crate) struct FailureKind;

impl JsonSchema for FailureKind {
    fn schema_name() -> Cow<'static, str> {
        "FailureKind".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let kinds = [Kind::Refused, Kind::Usage, Kind::Undetermined, Kind::Internal, Kind::Interrupted];
        // A new kind fails to compile here; add it to the list.
        let word = |kind: &Kind| match kind {
            Kind::Refused | Kind::Usage | Kind::Undetermined | Kind::Internal | Kind::Interrupted => {
                json!(kind)
            }
        };
        json_schema!({ "type": "string", "enum": kinds.iter().map(word).collect::<Vec<_>>() })
    }
}

/// The schema of one document, by the document's name.
fn of<R: Report + JsonSchema>() -> (&'static str, Value) {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.transforms.push(Box::new(RecursiveTransform(plain)));
    let mut generator = settings.into_generator();
    // Only the document itself names its schema, even if it contains others of its type.
    generator.subschema_for::<R>();
    let mut types = generator.take_definitions(true);
    let mut document = types.remove(&*R::schema_name()).expect("a report is a type of its own");
    if document.to_string().contains(&format!("#/$defs/{}\"", R::schema_name())) {
        types.insert(R::schema_name().into_owned(), document.clone());
    }
    document["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    document["title"] = json!(R::SCHEMA);
    document["properties"]["schema"] = json!({
        "description": "The name and version of this document.",
        "type": "string",
        "const": R::SCHEMA,
    });
    let members = document.as_object_mut().expect("a report is an object");
    let required = members.entry("required").or_insert_with(|| json!([]));
    required.as_array_mut().expect("a list of names").insert(0, json!("schema"));
    if !types.is_empty() {
        members.insert("$defs".to_owned(), types.into());
    }
    (R::SCHEMA, document)
}

/// Removes what concerns Rust and not JSON: the widths of numbers, line breaks, and null for fields that are omitted
/// instead.
fn plain(schema: &mut Schema) {
    let is_width = |format: &Value| format.as_str().is_some_and(|f| f.starts_with("uint") || f == "double");
    if schema.get("format").is_some_and(is_width) {
        schema.remove("format");
    }
    // Doc comments are wrapped.
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    let required: Vec<Value> = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (_, field) in fields.iter_mut().filter(|(name, _)| !required.contains(&json!(name))) {
        if let Some(Value::Array(types)) = field.get("type") {
            let [one, null] = &types[..] else { panic!("a type or null: {field}") };
            assert_eq!(null, "null", "{field}");
            field["type"] = one.clone();
        }
        if let Some(Value::Array(types)) = field.get("anyOf") {
            let [one, null] = &types[..] else { panic!("a type or null: {field}") };
            assert_eq!(null["type"], "null", "{field}");
            let one = one.as_object().expect("a reference").clone();
            let members = field.as_object_mut().expect("a schema");
            members.remove("anyOf");
            members.extend(one);
        }
    }
}

fn all() -> BTreeMap<&'static str, Value> {
    [
        of::<crate::backup::DoctorReport>(),
        of::<crate::backup::InitReport>(),
        of::<crate::backup::RunReport>(),
        of::<crate::check::CheckReport>(),
        of::<crate::comparison::SnapshotDiffReport>(),
        of::<crate::copy::CopyReport>(),
        of::<crate::drill::DrillReport>(),
        of::<crate::failure::FailureReport>(),
        of::<crate::lines::MessageLine>(),
        of::<crate::lines::ProgressLine>(),
        of::<crate::members::ExportReport>(),
        of::<crate::members::FloorReport>(),
        of::<crate::members::KeyAddedReport>(),
        of::<crate::members::KeyListReport>(),
        of::<crate::members::KeyRemovedReport>(),
        of::<crate::members::RotatedReport>(),
        of::<crate::pruning::ForgetReport>(),
        of::<crate::pruning::PruneReport>(),
        of::<crate::repair::RepairReport>(),
        of::<crate::replay::Replay>(),
        of::<crate::restore::DiffReport>(),
        of::<crate::restore::GcReport>(),
        of::<crate::restore::RestoreReport>(),
        of::<crate::search::FindReport>(),
        of::<crate::sheet::RecoverySheet>(),
        of::<crate::signature::KeyPair>(),
        of::<crate::signature::Signature>(),
        of::<crate::snapshots::ItemList>(),
        of::<crate::snapshots::SnapshotList>(),
        of::<crate::snapshots::SnapshotReport>(),
        of::<crate::statistics::StatisticsReport>(),
        of::<crate::tree::Tree>(),
        of::<crate::trusted_root::TrustedRootCheck>(),
        of::<crate::verification::SnapshotVerification>(),
        of::<crate::verification::Verification>(),
    ]
    .into()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json")
}

/// The schema of `lifeboat.run/v1` is in `lifeboat.run.v1.schema.json`.
fn file_name(schema: &str) -> String {
    format!("{}.schema.json", schema.replace('/', "."))
}

fn text(schema: &Value) -> String {
    serde_json::to_string_pretty(schema).unwrap() + "\n"
}

#[test]
fn the_schemas_are_those_of_the_types() {
    let again = "write them again: cargo test -p lifeboat-report write_the_schemas -- --ignored";
    let stored =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut stored: Vec<String> = stored.filter(|name| name != "README.md").collect();
    stored.sort();
    let mut made: Vec<String> = all().keys().map(|schema| file_name(schema)).collect();
    made.sort();
    assert_eq!(stored, made, "docs/json has other files than there are documents; {again}");
    for (name, schema) in all() {
        let stored = fs::read_to_string(folder().join(file_name(name))).unwrap();
        assert!(
            stored == text(&schema),
            "the schema of {name} in docs/json is not that of its type; {again}"
        );
    }
}

#[test]
#[ignore = "writes docs/json"]
fn write_the_schemas() {
    fs::create_dir_all(folder()).unwrap();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            fs::remove_file(path).unwrap();
        }
    }
    for (name, schema) in all() {
        fs::write(folder().join(file_name(name)), text(&schema)).unwrap();
    }
}

/// Compares the list above, which is written by hand, with the implementations of [`Report`] in the sources.
#[test]
fn every_document_has_a_schema() {
    let mut found = 0;
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            for line in source.lines().filter(|line| line.trim().starts_with("const SCHEMA: &'static str = "))
            {
                let name = line.split('"').nth(1).unwrap();
                assert!(all().contains_key(name), "{name} of {} has no schema", path.display());
                found += 1;
            }
        }
    }
    assert_eq!(found, all().len(), "two documents have one name");
}

/// Every field has a description, times have the format of times, and durations are in seconds.
#[test]
fn documents_speak_alike() {
    let moment = Moment::json_schema(&mut SchemaGenerator::default());
    let is_moment = |field: &Value| field.get("pattern") == moment.get("pattern");
    for (name, schema) in all() {
        let mut open = vec![&schema];
        while let Some(value) = open.pop() {
            for (field, described) in value.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                let place = format!("{field} of {name}");
                let is_told = described.get("description").or(described.get("const")).is_some();
                assert!(is_told, "nothing is said of {place}");
                let is_time = field == "time" || field.ends_with("_at");
                let item = described.get("items").unwrap_or(described);
                assert_eq!(is_moment(item), is_time, "{place} is a time, or named like one");
                for unit in ["_ms", "_millis", "_minutes", "_hours", "duration", "modified", "size"] {
                    assert!(!field.ends_with(unit), "{place} has another name elsewhere");
                }
                assert!(field != "seconds", "{place} says not what took so long");
            }
            match value {
                Value::Object(members) => open.extend(members.values()),
                Value::Array(members) => open.extend(members),
                _ => {}
            }
        }
    }
}
