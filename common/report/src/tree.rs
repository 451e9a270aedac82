//! The report of `lifeboat-verify tree`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Report;
use crate::verification::Verdict;

/// What hangs on an image.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tree {
    /// The image, as it was named.
    pub subject: String,
    /// Its digest.
    pub digest: String,
    /// The tag that was resolved to the digest, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What it is for, where its index says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// What refers to it.
    pub hanging: Vec<Hanging>,
    /// The images of an index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Tree>,
}

/// Something that refers to an image.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hanging {
    /// The digest of its manifest or layer.
    pub place: String,
    /// `bundle`, `legacy` or `artifact`.
    pub form: &'static str,
    /// The predicate type; vouched for only where it verifies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<String>,
    /// Whether it verifies; none where nobody was named whose word counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Who signed it, where it verifies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Why it does not verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Hanging {
    /// Something that is not judged yet.
    pub fn new(place: String, form: &'static str) -> Self {
        Self { place, form, states: None, verdict: None, signer: None, detail: None }
    }

    fn text(&self, indent: &str) -> String {
        let verdict = match self.verdict {
            Some(Verdict::Verified) => "verified",
            Some(Verdict::Refused) => "refused",
            Some(Verdict::Undetermined) => "unknown",
            None => "unjudged",
        };
        let mut text = format!("{indent}{verdict:<9} {:<9} {}\n", self.form, self.place);
        for words in [self.states.as_deref(), self.detail.as_deref()].into_iter().flatten() {
            let _ = writeln!(text, "{indent}          {words}");
        }
        if let Some(signer) = &self.signer {
            let _ = writeln!(text, "{indent}          signed by {signer}");
        }
        text
    }
}

impl Tree {
    fn lines(&self, indent: &str) -> String {
        let platform = self.platform.as_ref().map_or(String::new(), |platform| format!(" ({platform})"));
        let mut text = format!("{indent}{}{platform}\n{indent}{}\n", self.subject, self.digest);
        if self.hanging.is_empty() {
            let _ = writeln!(text, "{indent}  nothing refers to it");
        }
        for hanging in &self.hanging {
            text += &hanging.text(&format!("{indent}  "));
        }
        for image in &self.images {
            text += &image.lines(&format!("{indent}  "));
        }
        text
    }
}

impl Report for Tree {
    const SCHEMA: &'static str = "lifeboat.tree/v1";

    fn text(&self) -> String {
        self.lines("")
    }
}
