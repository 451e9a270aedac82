//! A verdict with everything that it was derived from, as a file: `--report` writes it, and `replay` derives it again.
//!
//! The file is one JSON object: the verdict, and the digest of its bytes. The file contains up to 1 MiB of the
//! evidence; the rest goes next to it into `FILE.d`, each piece under the name of its digest.

mod beside;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_file_capped;
use lifeboat_registry::{Index, MAX_MANIFEST_BYTES};
use lifeboat_report::verification::Verdict;
use lifeboat_shell::{Failure, write_output_file};
use lifeboat_trust::policy::Policy;
use lifeboat_trust::trusted_root::TrustedRoot;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use self::beside::{Beside, NotBeside};
use crate::item::{Form, Item};
use crate::question::{Question, Unjudged};
use crate::record::Record;
use crate::signers::MAX_ROOT_BYTES;

const SCHEMA: &str = "lifeboat.verdict/v1";

/// How many bytes of evidence the file itself contains.
const MAX_INLINE_BYTES: usize = 1 << 20;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// How many bytes of evidence of one form are considered for one verdict. More is left out, and reported.
pub(crate) const MAX_EVIDENCE_BYTES: u64 = 512 << 20;

/// The largest file that is read into memory, as an Ed25519 key requires, in bytes.
pub(crate) const MAX_WHOLE_BYTES: u64 = 1 << 30;

/// Where a verdict is written to.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ReportFlags {
    /// Write the verdict to this file, with the policy and all evidence that was read, for `lifeboat-verify replay`
    ///
    /// Evidence beyond 1 MiB is put beside it, into the folder FILE.d. A negative verdict is written as well.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outer<'d> {
    schema: String,
    digest: String,
    #[serde(borrow)]
    verdict: &'d RawValue,
}

/// A verdict, with everything that it was derived from.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// The version of the program that derived it.
    pub(crate) version: String,
    /// The time that was used as the present.
    pub(crate) now: Timestamp,
    pub(crate) subject: Subject,
    pub(crate) question: Question,
    /// The digest of the question, which contains the policy.
    pub(crate) policy_digest: Sha256Digest,
    pub(crate) trusted_root: Root,
    /// The file in question, if a key needs it whole.
    whole: Option<Sha256Digest>,
    evidence: Vec<Item>,
    pub(crate) unjudged: Unjudged,
    pub(crate) derivation: Value,
    /// The evidence in the file itself, in base64.
    contents: BTreeMap<Sha256Digest, String>,
}

/// The subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subject {
    /// The user's name for it: a reference or a file.
    pub(crate) name: String,
    pub(crate) digest: Sha256Digest,
    /// The tag that was resolved to the digest.
    pub(crate) tag: Option<String>,
    /// An index whose evidence, or whose images' evidence, was considered: the subject itself, or an index that names
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<Sha256Digest>,
}

/// The trusted root that was used.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Root {
    /// The user's name for it.
    pub(crate) name: String,
    pub(crate) digest: Sha256Digest,
}

/// The question, and the subject it is about.
pub(crate) struct Asked<'a> {
    pub(crate) subject: Subject,
    pub(crate) question: Question,
    pub(crate) policy: &'a Policy,
    /// An index whose evidence, or whose images' evidence, was considered.
    pub(crate) index: Option<&'a Index>,
    pub(crate) whole: Option<&'a [u8]>,
    pub(crate) unjudged: Unjudged,
}

/// A file whose content was changed after it was written.
#[derive(Debug)]
pub(crate) struct Altered(pub(crate) String);

/// The parts of a verdict other than the user's choices and the result.
#[derive(Serialize)]
pub(crate) struct Recorded<'d> {
    pub(crate) subject: &'d Subject,
    pub(crate) question: &'d Question,
    pub(crate) whole: Option<Sha256Digest>,
    pub(crate) evidence: &'d [Item],
    pub(crate) unjudged: &'d Unjudged,
}

/// Something in a verdict that cannot be used, and why.
pub(crate) struct Unusable {
    pub(crate) what: &'static str,
    pub(crate) reason: String,
}

/// All bytes that a verdict was derived from.
pub(crate) struct Contents(BTreeMap<Sha256Digest, Vec<u8>>);

/// Which of the bytes that a verdict was derived from are available.
pub(crate) enum Gathered {
    All(Contents),
    /// These are missing.
    Missing(Vec<Sha256Digest>),
    /// These have changed.
    Altered(Vec<Sha256Digest>),
}

impl ReportFlags {
    /// Whether the verdict is to be written.
    pub(crate) fn is_wanted(&self) -> bool {
        self.report.is_some()
    }

    /// A record for the evidence, if requested.
    pub(crate) fn record(&self) -> Record {
        Record::new(self.is_wanted())
    }

    /// Writes the verdict, if requested, and makes sure that it is the one that was reached.
    pub(crate) fn write(&self, asked: Asked<'_>, record: Record, reached: Verdict) -> Result<(), Failure> {
        if !self.is_wanted() {
            return Ok(());
        }
        let items: Vec<(&Item, &[u8])> =
            record.items.iter().map(|item| (item, record.contents[&item.content].as_slice())).collect();
        let Asked { question, policy, whole, unjudged, .. } = &asked;
        let derivation = question.answer(policy, &items, *whole, unjudged);
        self.write_derived(asked, record, reached, (derivation.verdict, to_value(&derivation)))
    }

    /// Writes the verdict with what was derived again from the record, if requested.
    pub(crate) fn write_derived(
        &self,
        asked: Asked<'_>,
        mut record: Record,
        reached: Verdict,
        (derived, derivation): (Verdict, Value),
    ) -> Result<(), Failure> {
        let Some(path) = &self.report else { return Ok(()) };
        let Asked { mut subject, question, policy, index, whole, unjudged } = asked;
        subject.index = index.map(|index| record.keep(&index.bytes));
        let root = Root { name: policy.root.name().to_owned(), digest: record.keep(policy.root.json()) };
        let whole_digest = whole.map(|whole| record.keep(whole));
        if derived != reached {
            return Err(Failure::refused(
                format!("the verdict was {reached:?}, and {derived:?} when it was derived again"),
                "do not rely on it, and report this as a fault of the program",
            ));
        }
        let document = Document {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: policy.now,
            subject,
            policy_digest: digest_of(&question),
            question,
            trusted_root: root,
            whole: whole_digest,
            evidence: record.items,
            unjudged,
            derivation,
            contents: BTreeMap::new(),
        };
        document.write(path, record.contents).map_err(|error| {
            let path = path.display();
            Failure::refused(format!("the verdict cannot be written to {path}: {error}"), error.advice())
        })
    }
}

/// Why a verdict cannot be written.
#[derive(Debug, thiserror::Error)]
enum NotWritten {
    #[error(transparent)]
    Beside(#[from] NotBeside),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The evidence is larger than what would be read again.
    #[error("it has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(u64),
}

impl NotWritten {
    fn advice(&self) -> &'static str {
        match self {
            Self::Beside(NotBeside::Occupied { .. }) => "take it away, or choose another `--report`",
            Self::Beside(NotBeside::NoFile { .. }) => "give `--report` the name of a file",
            Self::TooLarge(_) => "verify without `--report`: too much refers to the subject",
            _ => "choose another `--report`",
        }
    }
}

pub(crate) fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("strings and numbers always serialise")
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings and numbers always serialise")
}

pub(crate) fn digest_of(question: &Question) -> Sha256Digest {
    Sha256Digest::of(to_json(question).as_bytes())
}

impl Document {
    /// Writes the folder next to the file first, then the file, so that it never refers to missing evidence.
    fn write(mut self, path: &Path, contents: BTreeMap<Sha256Digest, Vec<u8>>) -> Result<(), NotWritten> {
        let mut room = MAX_INLINE_BYTES;
        let mut beside = None;
        for (digest, content) in contents {
            if let Some(left) = room.checked_sub(content.len()) {
                room = left;
                self.contents.insert(digest, STANDARD.encode(&content));
                continue;
            }
            let folder = match &beside {
                Some(folder) => folder,
                None => beside.insert(Beside::make(path)?),
            };
            folder.write(digest, &content)?;
        }
        let rendered = self.render();
        let length = rendered.len() as u64;
        if length > MAX_BYTES {
            return Err(NotWritten::TooLarge(length));
        }
        // Only its owner can read and write it.
        Ok(write_output_file(path, rendered.as_bytes(), 0o600)?)
    }

    /// The file's content.
    fn render(&self) -> String {
        let verdict = to_json(self);
        let digest = Sha256Digest::of(verdict.as_bytes()).to_oci();
        let verdict = RawValue::from_string(verdict).expect("what was written is JSON");
        to_json(&Outer { schema: SCHEMA.to_owned(), digest, verdict: &verdict }) + "\n"
    }

    /// Reads a file. A file that is not a verdict at all is a usage error.
    pub(crate) fn read(path: &Path) -> Result<Result<Self, Altered>, Failure> {
        let unusable = |reason: String| {
            let path = path.display();
            Failure::usage(
                format!("the verdict {path} cannot be used: {reason}"),
                "give a file that `--report` wrote, such as `lifeboat-verify image … --report FILE` does",
            )
        };
        let file = read_file_capped(path, MAX_BYTES).map_err(|error| unusable(error.to_string()))?;
        let outer: Outer<'_> = serde_json::from_slice(&file).map_err(|error| unusable(error.to_string()))?;
        if outer.schema != SCHEMA {
            return Err(unusable(format!("its schema is `{}`", outer.schema.escape_default())));
        }
        let digest = Sha256Digest::of(outer.verdict.get().as_bytes()).to_oci();
        if digest != outer.digest {
            let stated = outer.digest.escape_default();
            return Ok(Err(Altered(format!(
                "the file says that its verdict has the digest {stated}, and it has {digest}"
            ))));
        }
        let document: Self =
            serde_json::from_str(outer.verdict.get()).map_err(|error| unusable(error.to_string()))?;
        let wanted: BTreeSet<Sha256Digest> =
            document.wanted().into_iter().map(|(digest, _)| digest).collect();
        if document.render().as_bytes() != file || document.contents.keys().any(|one| !wanted.contains(one)) {
            return Ok(Err(Altered("the file is not as it was written".to_owned())));
        }
        Ok(Ok(document))
    }

    /// The digests that the verdict was derived from, with the most bytes that each can have.
    fn wanted(&self) -> Vec<(Sha256Digest, u64)> {
        let of_item = |item: &Item| (item.content, item.form.most_bytes());
        let mut wanted: Vec<_> = self.evidence.iter().map(of_item).collect();
        wanted.push((self.trusted_root.digest, MAX_ROOT_BYTES));
        wanted.extend(self.subject.index.map(|index| (index, MAX_MANIFEST_BYTES)));
        wanted.extend(self.whole.map(|whole| (whole, MAX_WHOLE_BYTES)));
        wanted
    }

    /// Everything that the verdict was derived from, from the file and from the folder next to it.
    pub(crate) fn contents(&self, path: &Path) -> Result<Gathered, Failure> {
        let unusable = |what: String| {
            Failure::usage(format!("{what} beside the verdict"), "give a file that `--report` wrote")
        };
        let mut room = MAX_WHOLE_BYTES + 2 * MAX_EVIDENCE_BYTES;
        let beside = Beside::open(path);
        let (mut found, mut missing, mut altered) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (digest, most) in self.wanted() {
            if found.contains_key(&digest) || missing.contains(&digest) || altered.contains(&digest) {
                continue;
            }
            let content = match self.contents.get(&digest) {
                Some(text) => STANDARD.decode(text).ok(),
                None => match beside.read(digest, most.min(room)) {
                    Ok(content) => Some(content),
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        missing.push(digest);
                        continue;
                    }
                    // The evidence that was considered was no larger.
                    Err(error) if error.kind() == ErrorKind::FileTooLarge && most <= room => None,
                    Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                        return Err(unusable("more evidence than a verdict is derived from lies".to_owned()));
                    }
                    Err(error) => {
                        return Err(Failure::usage(
                            format!("{} beside the verdict cannot be read: {error}", digest.to_oci()),
                            "check the permissions of the folder beside the verdict",
                        ));
                    }
                },
            };
            room = room.saturating_sub(content.as_ref().map_or(0, |content| content.len() as u64));
            match content.filter(|content| Sha256Digest::of(content) == digest) {
                Some(content) => _ = found.insert(digest, content),
                None => altered.push(digest),
            }
        }
        Ok(match (altered.as_slice(), missing.as_slice()) {
            ([], []) => Gathered::All(Contents(found)),
            ([], _) => Gathered::Missing(missing),
            _ => Gathered::Altered(altered),
        })
    }

    /// The policy that decided.
    pub(crate) fn policy(&self, contents: &Contents) -> Result<Policy, Unusable> {
        let unusable = |what, error: &dyn std::error::Error| Unusable { what, reason: error.to_string() };
        let Root { name, digest } = &self.trusted_root;
        let root = TrustedRoot::from_json(name, contents.get(*digest))
            .map_err(|error| unusable("trusted root", &error))?;
        self.question.policy(root, self.now).map_err(|error| unusable("policy", &error))
    }

    /// The subject of the evidence at these places. It must be the image itself or the index that names it; for an
    /// index where each piece counts by itself, it may also be an image that the index names. Evidence about anything
    /// else shows nothing about the subject.
    pub(crate) fn shown(&self, places: &[&str], contents: &Contents) -> Result<Sha256Digest, String> {
        let index = match self.subject.index {
            None => None,
            Some(digest) => {
                let index = Index::parse(digest, contents.get(digest).to_vec());
                Some(index.map_err(|error| error.to_string())?)
            }
        };
        let asked = self.subject.digest;
        let is_index = |digest: Sha256Digest| index.as_ref().is_some_and(|index| index.digest == digest);
        let names = |digest: Sha256Digest| index.as_ref().is_some_and(|index| index.names(digest));
        let mut shown = asked;
        for item in self.evidence.iter().filter(|item| places.contains(&item.place.as_str())) {
            let about = item.subject;
            if about == asked {
                continue;
            }
            if is_index(about) && names(asked) {
                shown = about;
            } else if !(self.question.each_by_itself && is_index(asked) && names(about)) {
                let (about, asked) = (about.to_oci(), asked.to_oci());
                return Err(format!("evidence about {about} is recorded for {asked}"));
            }
        }
        Ok(shown)
    }

    /// What is recorded about the subject and the available evidence.
    pub(crate) fn recorded(&self) -> Recorded<'_> {
        let Self { subject, question, whole, evidence, unjudged, .. } = self;
        Recorded { subject, question, whole: *whole, evidence, unjudged }
    }

    /// The repository objects among the evidence, by name.
    pub(crate) fn objects(&self, contents: &Contents) -> Vec<(String, Bytes)> {
        let objects = self.evidence.iter().filter(|item| item.form == Form::RepositoryObject);
        objects.map(|item| (item.place.clone(), Bytes::copy_from_slice(contents.get(item.content)))).collect()
    }

    /// Answers the question again, if it is not about a snapshot.
    pub(crate) fn answer(&self, policy: &Policy, contents: &Contents) -> Value {
        let items: Vec<(&Item, &[u8])> =
            self.evidence.iter().map(|item| (item, contents.get(item.content))).collect();
        let whole = self.whole.map(|whole| contents.get(whole));
        to_value(&self.question.answer(policy, &items, whole, &self.unjudged))
    }
}

/// An answer derived again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `verified`, `refused` or `undetermined`.
    pub verdict: String,
    /// The places of the evidence that counts.
    pub accepted: Vec<String>,
    /// How many signers' slots are filled.
    pub filled: usize,
}

/// Derives an answer again as `replay` does, from a verdict that `--report` wrote, regardless of the answer that it
/// records. The verdict must contain all bytes; its digests of policy and verdict are not checked.
///
/// # Errors
///
/// If it is not a verdict, or its policy or trusted root cannot be used.
pub fn derive_again(verdict: &str) -> Result<Answer, String> {
    let document: Document = serde_json::from_str(verdict).map_err(|error| error.to_string())?;
    let nowhere = Path::new("");
    let Ok(Gathered::All(contents)) = document.contents(nowhere) else {
        return Err("bytes that it names do not lie in it".to_owned());
    };
    let policy =
        document.policy(&contents).map_err(|Unusable { what, reason }| format!("{what}: {reason}"))?;
    let answer = document.answer(&policy, &contents);
    let accepted = answer["accepted"].as_array().into_iter().flatten();
    Ok(Answer {
        verdict: answer["verdict"].as_str().unwrap_or_default().to_owned(),
        accepted: accepted.filter_map(|found| found["bundle"].as_str().map(str::to_owned)).collect(),
        filled: answer["distinct_signers"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default(),
    })
}

impl Contents {
    /// # Panics
    ///
    /// If the verdict does not name content with this digest.
    pub(crate) fn get(&self, digest: Sha256Digest) -> &[u8] {
        &self.0[&digest]
    }
}
