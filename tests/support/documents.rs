//! Validates the documents that the programs print against the schemas in `docs/json`.

#![expect(clippy::unwrap_used, reason = "a schema that cannot be read fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::command::Output;

/// Every verb whose standard output is data or a page, with `--json` as well.
const NO_DOCUMENT: [&str; 5] = ["dump", "completions", "man", "--help", "--version"];

/// The names of all documents.
pub fn names() -> impl Iterator<Item = &'static str> {
    schemas().keys().map(String::as_str)
}

/// Fails the test unless `document` matches its schema, without additional fields; returns the schema's name.
///
/// # Panics
///
/// When it does not match, or names no schema of `docs/json`.
pub fn check(document: &Value) -> &str {
    let Some(name) = document["schema"].as_str() else { panic!("a document without a schema: {document:#}") };
    let Some(validator) = schemas().get(name) else {
        panic!("docs/json has no schema `{name}`: {document:#}")
    };
    let faults: Vec<String> =
        validator.iter_errors(document).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{name} is not as docs/json says:\n{}\n{document:#}", faults.join("\n"));
    name
}

/// Checks the output of one of the programs: with `--json` there is one document on standard output, with `--progress
/// json` every line on standard error is one.
pub(crate) fn check_said(command: &Command, said: &Output) {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    if !program.to_string_lossy().starts_with("tested-") {
        return;
    }
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    // A process that was killed, or that hit an internal error, prints what it can.
    let has_ended = said.code.is_some_and(|code| code != 4);
    let is_document = !words.iter().any(|word| NO_DOCUMENT.contains(&&**word));
    if words.iter().any(|word| word == "--json") && is_document && has_ended {
        check(&parsed(&said.stdout));
    }
    let in_lines = words.windows(2).any(|pair| pair[0] == "--progress" && pair[1] == "json");
    if in_lines || words.iter().any(|word| word == "--progress=json") {
        for line in said.stderr.lines() {
            check(&parsed(line));
        }
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

fn schemas() -> &'static BTreeMap<String, Validator> {
    static SCHEMAS: OnceLock<BTreeMap<String, Validator>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json");
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path| {
                let mut schema = parsed(&fs::read_to_string(&path).unwrap());
                close(&mut schema);
                let name = schema["properties"]["schema"]["const"].as_str().unwrap().to_owned();
                let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
                (name, validator)
            })
            .collect()
    })
}

/// The schemas permit unknown fields. This version must print only those in its schemas.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.contains_key("properties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(members) => members.iter_mut().for_each(close),
        _ => {}
    }
}
