//! Reports of `lifeboat-verify`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::Report;
use crate::figures::TOLD;

/// The answer to the question whether a trusted signer said something of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// The image index through which the image was found, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<Index>,
    /// What had to be said of it, for people.
    pub claim: String,
    /// The predicate type that was required; none for a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
    /// Whose word counts: the names of the keys and identities.
    pub signers: Vec<String>,
    /// How many of them must have said it.
    pub threshold: usize,
    /// How many of them did; none counts twice.
    pub distinct_signers: usize,
    /// The same, signer by signer: which bundle counts for whom.
    pub slots: Vec<Slot>,
    /// The bundles that show it.
    pub accepted: Vec<AcceptedBundle>,
    /// The bundles that do not, and why.
    pub refused: Vec<RefusedBundle>,
    /// The bundles that could not be read, and why.
    pub unread: Vec<RefusedBundle>,
    /// How many manifests that refer to the subject are not bundles.
    pub others: usize,
    /// Whether more refers to the subject than was looked at.
    pub truncated: bool,
    /// What to do next, where the answer is not yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What is known of the index of an image.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Index {
    /// The digest of the index.
    pub digest: String,
    /// The platform that was asked for, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The images that the index names. A signature of the index covers them by their digests, and those only.
    pub children: Vec<Child>,
}

/// An image of an index.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Child {
    /// Its digest.
    pub digest: String,
    /// What it is for, such as `linux/arm64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// A step of a verification.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Step {
    /// What is done in it.
    pub name: &'static str,
    /// The section of the specification that demands it.
    pub specification: &'static str,
}

/// A signer whose word counts, and what shows that it was given.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Slot {
    /// The name of the signer.
    pub signer: String,
    /// The bundle that counts for it, and for no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filled_by: Option<String>,
}

/// A bundle that shows what was asked for.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AcceptedBundle {
    /// The bundle: the digest of its manifest, or its file.
    pub bundle: String,
    /// `bundle`, or `legacy` for cosign's older tags.
    pub format: &'static str,
    /// The name of the signer that it was accepted for.
    pub signer: String,
    /// The id of the key that signed, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The identity in the certificate, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Who vouches for the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The predicate type that was signed; none for the signature of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<String>,
    /// When logs and timestamp authorities saw the signature.
    #[cfg_attr(test, schemars(with = "Vec<crate::schemas::Moment>"))]
    pub witnessed_at: Vec<Timestamp>,
    /// The signer for whom it counts; none where another bundle counts for the same party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fills: Option<String>,
    /// How many transparency log entries were shown to be in their log.
    pub log_entries: usize,
    /// How many transparency log entries a log promised to take, which shows less.
    pub log_promises: usize,
    /// How many transparency log entries were not, because nothing is known of their log.
    pub unchecked_log_entries: usize,
    /// Which of the named witnesses signed the logs' checkpoints.
    pub cosignatures: Vec<Cosignature>,
    /// How many signatures of others stand there besides the log's own; nobody checked them.
    pub unchecked_cosignatures: usize,
    /// How many timestamps were verified.
    pub timestamps: usize,
    /// Where the predicate was written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_to: Option<String>,
    /// The steps that were taken, in order.
    pub steps: Vec<Step>,
}

/// A witness's signature of a log's checkpoint.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cosignature {
    /// The witness's name.
    pub witness: String,
    /// When it signed, by its own clock.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub time: Timestamp,
}

/// A bundle that does not count.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RefusedBundle {
    /// The bundle: the digest of its manifest, or its file.
    pub bundle: String,
    /// Why it does not count.
    pub reason: String,
    /// The step that failed, where the bundle could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
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
        if let Some(index) = &self.index {
            line(&mut text, "index", &index.digest);
            detail(&mut text, &index.words());
        }
        for accepted in &self.accepted {
            line(&mut text, "bundle", &accepted.bundle);
            detail(&mut text, &accepted.words_of(self.threshold));
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

/// A verification of one snapshot.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SnapshotVerification {
    /// The answer.
    pub verdict: Verdict,
    /// The repository's id.
    pub repository: String,
    /// The snapshot's id.
    pub snapshot: String,
    /// The host that wrote it.
    pub writer: String,
    /// The id of the host's key.
    pub writer_key_id: String,
    /// The host's public key in PEM, for other tools.
    pub writer_key: String,
    /// Which of the host's snapshots it is.
    pub sequence: u64,
    /// When it was taken, as the host's clock had it.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub time: Timestamp,
    /// Whether some of what was to be captured is missing.
    pub incomplete: bool,
    /// The digest of the sealed part, the statement's subject.
    pub part: String,
    /// Whose word counts besides, if anyone's does.
    pub signers: Vec<String>,
    /// How many of them must have signed.
    pub threshold: usize,
    /// How many of them did.
    pub distinct_signers: usize,
    /// The same, signer by signer: which signature counts for whom.
    pub slots: Vec<Slot>,
    /// The signatures of those whose word counts.
    pub accepted: Vec<AcceptedBundle>,
    /// The signatures that do not count, and why.
    pub refused: Vec<RefusedBundle>,
    /// What is wrong with the snapshots.
    pub problems: Vec<String>,
    /// The file that remembers the newest snapshots, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<SeenBefore>,
}

/// A file that remembers the newest snapshots of a repository.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SeenBefore {
    /// Its name.
    pub file: String,
    /// Whether it was not there yet, so that the repository was compared with nothing.
    pub is_new: bool,
}

impl Report for SnapshotVerification {
    const SCHEMA: &'static str = "lifeboat.snapshot-verification/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let verdict = if self.verdict == Verdict::Verified { "VERIFIED" } else { "REFUSED" };
        line(&mut text, verdict, &format!("snapshot {}", self.snapshot));
        line(&mut text, "written", &format!("by host {}, number {}", self.writer, self.sequence));
        line(&mut text, "time", &format!("{}, by the host's own clock", self.time));
        line(&mut text, "key", &self.writer_key_id);
        if self.incomplete {
            line(&mut text, "note", "it is incomplete: some of what was to be captured is missing");
        }
        for accepted in &self.accepted {
            line(&mut text, "signed", &accepted.bundle);
            detail(&mut text, &accepted.words_of(self.threshold));
        }
        if self.distinct_signers < self.threshold {
            let reason = format!(
                "{} of the {} signers that must have signed it did",
                self.distinct_signers, self.threshold
            );
            line(&mut text, "reason", &reason);
        }
        for refused in &self.refused {
            line(&mut text, "refused", &refused.bundle);
            detail(&mut text, &refused.reason);
        }
        for problem in self.problems.iter().take(TOLD) {
            line(&mut text, "problem", problem);
        }
        if let Some(more) = self.problems.len().checked_sub(TOLD).filter(|more| *more > 0) {
            line(&mut text, "problem", &format!("and {more} more, which `--json` names"));
        }
        match (&self.checkpoint, self.verdict) {
            (Some(SeenBefore { file, is_new: false }), Verdict::Verified) => {
                line(&mut text, "seen", &format!("remembered in {file}"));
            }
            (Some(SeenBefore { file, is_new: true }), Verdict::Verified) => {
                line(&mut text, "seen", &format!("{file} was not there: compared with nothing, made now"));
            }
            (_, Verdict::Verified) => {}
            _ => line(&mut text, "do", "do not restore from it before you know who changed the repository"),
        }
        text
    }
}

impl Index {
    fn words(&self) -> String {
        match &self.platform {
            Some(platform) => format!("names this image for {platform}"),
            None => format!(
                "names {} images; its signature covers them by digest: pull by digest",
                self.children.len()
            ),
        }
    }
}

impl AcceptedBundle {
    fn words(&self) -> String {
        let mut words = match (&self.key_id, &self.identity) {
            (Some(key), _) => format!("signed by {} (key {})", self.signer, short(key)),
            (None, Some(identity)) => {
                format!(
                    "signed by {identity}, for whom {} vouches",
                    self.issuer.as_deref().unwrap_or("no one")
                )
            }
            (None, None) => format!("signed by {}", self.signer),
        };
        if let Some(time) = self.witnessed_at.iter().min() {
            let _ = write!(words, "; seen at {time}");
        }
        if self.log_entries > 0 {
            words += "; its log entry is good";
        }
        if self.log_promises > 0 {
            words += "; a log promised to take its entry";
        }
        match (self.unchecked_log_entries, self.log_entries + self.log_promises) {
            (0, _) => {}
            (_, 0) if self.key_id.is_some() => {
                words +=
                    "; its log entry was not checked, for nothing is known of the log: the key alone counts";
            }
            _ => words += "; another log entry was not checked, for nothing is known of its log",
        }
        words += &self.witnesses();
        if self.format == "legacy" {
            words += "; under a legacy tag";
        }
        words
    }

    /// The same with the signer for whom it counts, where several must have signed.
    fn words_of(&self, threshold: usize) -> String {
        match &self.fills {
            _ if threshold < 2 => self.words(),
            Some(signer) => format!("{}; counts for {signer}", self.words()),
            None => format!("{}; counts for no further signer", self.words()),
        }
    }

    /// Who besides the log signed its checkpoint, as far as it is known.
    fn witnesses(&self) -> String {
        let mut words = String::new();
        let names: BTreeSet<&str> = self.cosignatures.iter().map(|one| one.witness.as_str()).collect();
        if !names.is_empty() {
            let names: Vec<&str> = names.into_iter().collect();
            let _ = write!(words, "; witnessed by {}", names.join(" and "));
        }
        match (self.unchecked_cosignatures, self.cosignatures.is_empty()) {
            (0, _) => {}
            (1, true) => words += "; one cosignature of its log was not checked, for no witness was named",
            (count, true) => {
                let _ = write!(
                    words,
                    "; {count} cosignatures of its log were not checked, for no witness was named"
                );
            }
            (1, false) => words += "; one cosignature of another was not checked",
            (count, false) => {
                let _ = write!(words, "; {count} cosignatures of others were not checked");
            }
        }
        words
    }
}

impl Verification {
    fn reason(&self) -> String {
        match (self.refused.len(), self.unread.len()) {
            _ if !self.accepted.is_empty() => {
                format!(
                    "{} of the {} signers that must have said it did",
                    self.distinct_signers, self.threshold
                )
            }
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

/// Indented lines below another, wrapped between words for a terminal of 80 columns.
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

/// The start of an id, enough to distinguish keys by eye.
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
            index: None,
            claim: "an image signature by release.pub".to_owned(),
            predicate_type: None,
            signers: vec!["release.pub".to_owned()],
            threshold: 1,
            distinct_signers: 0,
            slots: Vec::new(),
            accepted: Vec::new(),
            refused: vec![RefusedBundle {
                bundle: digest,
                reason: format!("its signature is for {}, not for this", "sha256:0".repeat(8)),
                step: None,
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
