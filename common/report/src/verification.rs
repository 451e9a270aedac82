//! What `lifeboat-verify` found.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Report;

/// The answer to the question whether a trusted signer said something of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Yes.
    Verified,
    /// No.
    Refused,
    /// Not everything could be looked at, and what could was not enough.
    Undetermined,
}

/// A verification of one image or file.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// The answer.
    pub verdict: Verdict,
    /// What was verified: a reference or a file.
    pub subject: String,
    /// Its digest.
    pub digest: String,
    /// The tag that was resolved to the digest, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What had to be said of it, for people.
    pub claim: String,
    /// The predicate type that was required; none for a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
    /// Whose word counts: the names of the keys.
    pub signers: Vec<String>,
    /// The bundles that show it.
    pub accepted: Vec<AcceptedBundle>,
    /// The bundles that do not, and why.
    pub refused: Vec<RefusedBundle>,
    /// The bundles that could not be read, and why.
    pub unread: Vec<RefusedBundle>,
    /// How many manifests refer to the subject that are no bundles.
    pub others: usize,
    /// Whether more refers to the subject than was looked at.
    pub truncated: bool,
    /// What to do next, where the answer is not yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// A bundle that shows what was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct AcceptedBundle {
    /// The bundle: the digest of its manifest, or its file.
    pub bundle: String,
    /// The name of the key that made it.
    pub signer: String,
    /// The key's id.
    pub key_id: String,
    /// How many transparency log entries it carries; none of them was checked.
    pub unchecked_log_entries: usize,
    /// Where the predicate was written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_to: Option<String>,
}

/// A bundle that does not count.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedBundle {
    /// The bundle: the digest of its manifest, or its file.
    pub bundle: String,
    /// Why it does not count.
    pub reason: String,
}

impl Report for Verification {
    const SCHEMA: &'static str = "lifeboat.verification/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let verdict = match self.verdict {
            Verdict::Verified => "VERIFIED",
            Verdict::Refused => "REFUSED",
            Verdict::Undetermined => "UNKNOWN",
        };
        line(&mut text, verdict, &self.subject);
        line(&mut text, "digest", &self.digest);
        line(&mut text, "claim", &self.claim);
        for accepted in &self.accepted {
            line(&mut text, "bundle", &accepted.bundle);
            detail(&mut text, &format!("signed by {} (key {})", accepted.signer, short(&accepted.key_id)));
            if accepted.unchecked_log_entries > 0 {
                detail(&mut text, "its transparency log entry was not checked: the key alone counts");
            }
            if let Some(path) = &accepted.written_to {
                detail(&mut text, &format!("predicate written to {path}"));
            }
        }
        if self.verdict != Verdict::Verified {
            line(&mut text, "reason", &self.reason());
            for refused in &self.refused {
                line(&mut text, "bundle", &refused.bundle);
                detail(&mut text, &refused.reason);
            }
            for unread in &self.unread {
                line(&mut text, "unread", &unread.bundle);
                detail(&mut text, &unread.reason);
            }
        }
        if self.truncated {
            line(&mut text, "note", "more refers to it than was looked at");
        }
        if let Some(advice) = &self.advice {
            line(&mut text, "do", advice);
        }
        text
    }
}

impl Verification {
    fn reason(&self) -> String {
        match (self.refused.len(), self.unread.len()) {
            (_, 0) if self.truncated => "nothing that was looked at shows that".to_owned(),
            (0, 0) if self.others == 0 => "it is not signed: no bundle refers to it".to_owned(),
            (0, 0) => format!("it is not signed: of the {} that refer to it none is a bundle", self.others),
            (1, 0) => "its one bundle does not show that".to_owned(),
            (several, 0) => format!("none of its {several} bundles shows that"),
            (_, unread) => format!("{unread} of its bundles could not be read, and no other shows that"),
        }
    }
}

fn line(text: &mut String, label: &str, content: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{label:<10}{content}");
}

/// Lines below another, broken between words so that they fit a terminal of 80 columns.
fn detail(text: &mut String, content: &str) {
    const WIDTH: usize = 78;
    let mut column = 0;
    for word in content.split_whitespace() {
        let separator = match column {
            0 => "  ",
            _ if column + 1 + word.chars().count() > WIDTH => "\n  ",
            _ => " ",
        };
        column = if separator == " " { column + 1 } else { 2 } + word.chars().count();
        text.push_str(separator);
        text.push_str(word);
    }
    text.push('\n');
}

/// The beginning of an id, enough to tell keys apart by eye.
fn short(id: &str) -> &str {
    id.get(..16).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_reads_well_in_a_narrow_terminal() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let report = Verification {
            verdict: Verdict::Refused,
            subject: "registry.example/app:1.0".to_owned(),
            digest: digest.clone(),
            tag: Some("1.0".to_owned()),
            claim: "an image signature by release.pub".to_owned(),
            predicate_type: None,
            signers: vec!["release.pub".to_owned()],
            accepted: Vec::new(),
            refused: vec![RefusedBundle {
                bundle: digest,
                reason: format!("its signature is for {}, not for this", "sha256:0".repeat(8)),
            }],
            unread: Vec::new(),
            others: 0,
            truncated: false,
            advice: Some("do not use it".to_owned()),
        };
        insta::assert_snapshot!(report.text(), @r"
        REFUSED   registry.example/app:1.0
        digest    sha256:0000000000000000000000000000000000000000000000000000000000000000
        claim     an image signature by release.pub
        reason    its one bundle does not show that
        bundle    sha256:0000000000000000000000000000000000000000000000000000000000000000
          its signature is for
          sha256:0sha256:0sha256:0sha256:0sha256:0sha256:0sha256:0sha256:0, not for
          this
        do        do not use it
        ");
        assert!(
            report
                .json()
                .unwrap()
                .starts_with("{\n  \"schema\": \"lifeboat.verification/v1\",\n  \"verdict\": \"refused\"")
        );
    }
}
