//! Versioned report types: the output of the four binaries, as data first, and as text, JSON or HTML made from it.
//!
//! A report is a plain struct with a schema id. It never decides anything and never reads anything.

mod figures;
#[cfg(test)]
mod schemas;

pub mod backup;
pub mod check;
pub mod comparison;
pub mod copy;
pub mod drill;
pub mod failure;
pub mod lines;
pub mod members;
pub mod problem;
pub mod pruning;
pub mod repair;
pub mod replay;
pub mod restore;
pub mod search;
pub mod sheet;
pub mod signature;
pub mod snapshots;
pub mod statistics;
pub mod tree;
pub mod trusted_root;
pub mod verification;

use serde::Serialize;

/// A document that a command prints: JSON under `--json`, text otherwise.
pub trait Report: Serialize {
    /// The schema id in the JSON form, such as `lifeboat.run/v1`; the schema itself is in `docs/json`. A change that
    /// breaks readers gets a new number.
    const SCHEMA: &'static str;

    /// The form for people: lines that fit a narrow terminal.
    fn text(&self) -> String;

    /// The JSON form: one object whose first member is `schema`.
    fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&Document { schema: Self::SCHEMA, report: self })
    }

    /// The JSON form on one line.
    fn json_line(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Document { schema: Self::SCHEMA, report: self })
    }
}

#[derive(Serialize)]
struct Document<'a, R: ?Sized> {
    schema: &'static str,
    #[serde(flatten)]
    report: &'a R,
}
