//! `lifeboat-verify blob`

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::{read_capped, read_file_capped};
use lifeboat_report::verification::{Verdict, Verification};
use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_trust::bundle::MAX_ATTESTATION_BYTES;
use lifeboat_trust::judge;
use lifeboat_trust::key::Algorithm;
use lifeboat_trust::policy::{Policy, Signer};
use lifeboat_trust::statement::PredicateType;

use crate::findings::{self, outcome};
use crate::item::{Asked, Form, Item};
use crate::question::{Question, Unjudged};
use crate::signers::{self, EvidenceFlags, SignerFlags};
use crate::verdict::{self, MAX_WHOLE_BYTES, ReportFlags};

/// Verify that a file was signed by a trusted signer, or stated something about
///
/// In place of the file its digest may be given, for a file that is elsewhere or too large to fetch. Nothing is asked
/// of any server: what the bundle holds must prove it all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-verify blob app.tar.gz --bundle app.tar.gz.sigstore.json --key release.pub
  lifeboat-verify blob sha256:9f86d0… --bundle app.tar.gz.sigstore.json --key release.pub
  lifeboat-verify blob app.tar.gz --bundle app.tar.gz.sigstore.json --key release.pub --report verdict.json
  lifeboat-verify blob app.tar.gz --bundle app.tar.gz.sigstore.json \\
      --certificate-identity https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1 \\
      --certificate-oidc-issuer https://token.actions.githubusercontent.com

Exit codes: 0 verified; 1 signed by others or for something else")]
pub(crate) struct Args {
    /// File, or sha256: and its digest in hexadecimal
    #[arg(value_name = "FILE|sha256:HEX")]
    file: PathBuf,
    /// Bundle that holds the signature; give it again for more, as a threshold needs them
    #[arg(long = "bundle", value_name = "FILE", required = true)]
    bundles: Vec<PathBuf>,
    /// Require a statement of this type about the file: a short name, or the predicate type's URI
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    #[command(flatten)]
    signers: SignerFlags,
    #[command(flatten)]
    evidence: EvidenceFlags,
    #[command(flatten)]
    output: ReportFlags,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let unreadable = |what: &str, path: &Path, error: &io::Error| {
        let path = path.display();
        Failure::usage(format!("the {what} {path} cannot be read: {error}"), "check its name and permissions")
    };
    let kind = args.kind.as_deref().map(str::parse::<PredicateType>).transpose()?;
    let policy = signers::policy(&args.signers, &args.evidence)?;
    let (digest, content) = if let Some(text) = args.file.to_str().filter(|text| text.starts_with("sha256:"))
    {
        let digest = Sha256Digest::from_oci(text).map_err(|error| {
            Failure::usage(error.to_string(), "write `./sha256:…` if a file of this name is meant")
        })?;
        (digest, None)
    } else {
        let read = read(&args.file, needs_it_whole(&policy));
        read.map_err(|error| unreadable("file", &args.file, &error))?
    };
    let asked = Asked { predicate_type: kind.as_ref(), whole: content.as_deref(), expectations: None };
    let mut record = args.output.record();
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    let mut votes = Vec::new();
    for path in &args.bundles {
        let bundle = read_file_capped(path, MAX_ATTESTATION_BYTES)
            .map_err(|error| unreadable("bundle", path, &error))?;
        let shown = path.display().to_string();
        let item = Item {
            place: shown.clone(),
            form: Form::FileBundle,
            subject: digest,
            refers_to: None,
            annotations: BTreeMap::new(),
            content: Sha256Digest::of(&bundle),
        };
        match item.judge(&bundle, asked, &policy) {
            Ok(found) => {
                accepted.push(findings::accepted_bundle(shown, item.form.name(), &found));
                votes.push(found.vote);
            }
            Err(refusal) => refused.push(findings::refused_bundle(shown, &refusal)),
        }
        record.add(item, &bundle);
    }
    let verdict = findings::verdict(&policy, &votes, true);
    let name = args.file.display().to_string();
    let asked = verdict::Asked {
        subject: verdict::Subject { name: name.clone(), digest, tag: None, index: None },
        question: Question::new(&policy, kind.as_ref(), None),
        policy: &policy,
        index: None,
        whole: content.as_deref(),
        unjudged: Unjudged::default(),
    };
    args.output.write(asked, record, verdict)?;
    let (slots, distinct_signers) = findings::fill_slots(&policy, &votes, &mut accepted);
    let signers = policy.names();
    // Without `--type`, any statement is accepted, and not every signed statement says that the file is good.
    let file_signature = PredicateType::file_signature();
    let stated: BTreeSet<&str> = accepted
        .iter()
        .filter_map(|found| found.states.as_deref())
        .filter(|stated| kind.is_none() && *stated != file_signature.uri())
        .collect();
    let types: Vec<String> = match &kind {
        Some(kind) => vec![judge::describe(kind.uri())],
        None => stated.iter().map(|uri| judge::describe(uri)).collect(),
    };
    let what = match types.as_slice() {
        [] => "the signature of a file".to_owned(),
        types => format!("{} about a file", types.join(" and ")),
    };
    let advice = match verdict {
        Verdict::Refused => {
            Some("do not use the file; fetch it and its bundle again from where it was published".to_owned())
        }
        Verdict::Verified if !stated.is_empty() => Some(
            "read what it states, which was not looked at; `--type` accepts nothing but one type".to_owned(),
        ),
        _ => None,
    };
    ui.report(&Verification {
        verdict,
        subject: name,
        digest: digest.to_oci(),
        tag: None,
        index: None,
        claim: findings::claim(&what, &policy),
        predicate_type: kind.map(|kind| kind.uri().to_owned()),
        signers,
        threshold: policy.threshold,
        distinct_signers,
        slots,
        accepted,
        refused,
        unread: Vec::new(),
        others: 0,
        truncated: false,
        advice,
    });
    Ok(outcome(verdict))
}

/// Whether one of the keys can verify only the complete file.
fn needs_it_whole(policy: &Policy) -> bool {
    let is_whole =
        |signer: &Signer| matches!(signer, Signer::Key { key, .. } if key.algorithm() == Algorithm::Ed25519);
    policy.signers.iter().any(is_whole)
}

/// The file's digest, and its content if a key needs it.
fn read(path: &Path, is_whole: bool) -> io::Result<(Sha256Digest, Option<Vec<u8>>)> {
    let file = File::open(path)?;
    if is_whole {
        let content = read_capped(file, MAX_WHOLE_BYTES)?;
        return Ok((Sha256Digest::of(&content), Some(content)));
    }
    Ok((Sha256Digest::of_reader(file)?, None))
}
