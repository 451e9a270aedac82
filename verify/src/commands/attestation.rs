//! `lifeboat-verify attestation`

use std::path::PathBuf;

use lifeboat_core::Sha256Digest;
use lifeboat_registry::Reference;
use lifeboat_shell::{Failure, Outcome, RegistryFlags, Ui, write_output_file};
use lifeboat_trust::bundle::MAX_ATTESTATION_BYTES;
use lifeboat_trust::judge::Accepted;
use lifeboat_trust::provenance::{Expectations, Parameter};
use lifeboat_trust::statement::PredicateType;

use crate::evidence::{Forms, Image, Search};
use crate::findings::outcome;
use crate::signers::{self, EvidenceFlags, SignerFlags};
use crate::verdict::ReportFlags;

/// Verify that a trusted signer signed a statement about an image, such as its SBOM
///
/// The statement must be of the type that --type names and about the digest that the reference was resolved to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-verify attestation registry.example/app:1.0 --type spdxjson --key release.pub
  lifeboat-verify attestation registry.example/app:1.0 --type spdxjson --key release.pub --output sbom.json
  lifeboat-verify attestation registry.example/app:1.0 --type slsaprovenance1 --key ci.pub \\
      --builder https://ci.example/builder@v1 --source github.com/acme/app --ref refs/tags/v1.0
  lifeboat-verify attestation oci:./build/app --type https://example.com/review/v1 --key release.pub
  lifeboat-verify attestation oci:./build/app --type cyclonedx --key release.pub --report verdict.json

Exit codes: 0 verified; 1 none, or by others or about something else; 3 could not be determined")]
pub(crate) struct Args {
    /// registry/name[:tag][@sha256:…], oci:DIR[:tag] for a layout or archive on disk, or docker:NAME
    #[arg(value_name = "REF")]
    reference: String,
    /// spdxjson, cyclonedx, slsaprovenance1, vuln, openvex, custom, or the predicate type's URI
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// Of an index, look at the image of this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Count attestations in this form only, such as bundles where nothing older is made any more
    #[arg(long, value_enum, default_value_t = Forms::Both)]
    format: Forms,
    #[command(flatten)]
    signers: SignerFlags,
    #[command(flatten)]
    evidence: EvidenceFlags,
    /// Write what was stated, the predicate, to this file once it is verified
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Look at the bundle of this manifest only, where an image has several attestations of the type
    #[arg(long, value_name = "sha256:HEX")]
    only: Option<String>,
    #[command(flatten)]
    verdict: ReportFlags,
    #[command(flatten)]
    build: BuildFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// What the build must have been, for provenance.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Provenance (--type slsaprovenance1)")]
struct BuildFlags {
    /// Who must have built it; without an @ref, any release vX.Y.Z of that builder
    #[arg(long, value_name = "ID")]
    builder: Option<String>,
    /// From which repository, such as github.com/acme/app
    #[arg(long, value_name = "REPOSITORY")]
    source: Option<String>,
    /// From which ref, such as refs/tags/v1.0
    #[arg(long = "ref", value_name = "REF")]
    git_ref: Option<String>,
    /// A parameter that the build must have been started with: name=text, or name:=JSON; give it again for more
    ///
    /// A name that begins with a slash is a JSON pointer into the predicate, for builds of a type that is not known here.
    #[arg(long = "parameter", value_name = "NAME=TEXT|NAME:=JSON", value_parser = parse_parameter)]
    parameters: Vec<(String, Parameter)>,
    /// Where the predicate names its source, for builds of a type that is not known here
    #[arg(long, value_name = "POINTER", requires = "source", value_parser = parse_pointer)]
    source_at: Option<String>,
    /// Where the predicate names its ref, likewise
    #[arg(long, value_name = "POINTER", requires = "git_ref", value_parser = parse_pointer)]
    ref_at: Option<String>,
}

/// Parses `NAME=TEXT` or `NAME:=JSON`.
fn parse_parameter(text: &str) -> Result<(String, Parameter), String> {
    let (name, value) =
        signers::parse_annotation(text).map_err(|_| "write NAME=TEXT or NAME:=JSON".to_owned())?;
    match name.strip_suffix(':') {
        Some("") => Err("write NAME=TEXT or NAME:=JSON".to_owned()),
        Some(name) => {
            let json = serde_json::from_str(&value)
                .map_err(|error| format!("what follows `:=` is not JSON: {error}"))?;
            Ok((name.to_owned(), Parameter::Json(json)))
        }
        None => Ok((name, Parameter::Text(value))),
    }
}

/// Parses a JSON pointer (RFC 6901) other than the one to the whole document.
fn parse_pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("write a JSON pointer, such as /a/b".to_owned())
    }
}

impl BuildFlags {
    fn expectations(&self, kind: &PredicateType) -> Result<Option<Expectations>, Failure> {
        let expectations = Expectations {
            builder: self.builder.clone(),
            source: self.source.as_deref().map(str::parse).transpose()?,
            git_ref: self.git_ref.clone(),
            parameters: signers::once("--parameter", self.parameters.iter().cloned())?,
            source_at: self.source_at.clone(),
            git_ref_at: self.ref_at.clone(),
        };
        match expectations {
            none if none.is_empty() => Ok(None),
            some if kind.is_provenance() => Ok(Some(some)),
            _ => Err(Failure::usage(
                "`--builder`, `--source`, `--ref` and `--parameter` speak of a build, and this type does not",
                "give `--type slsaprovenance1`",
            )),
        }
    }
}

pub(crate) async fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let reference: Reference = args.reference.parse()?;
    let kind: PredicateType = args.kind.parse()?;
    let only = args.only.as_deref().map(Sha256Digest::from_oci).transpose().map_err(|error| {
        Failure::usage(
            format!("{error}, as `--only` needs it"),
            "give a bundle's digest as the report shows it",
        )
    })?;
    let expectations = args.build.expectations(&kind)?;
    let policy = signers::policy(&args.signers, &args.evidence)?;
    let image = Image::resolve(reference, args.platform.as_deref(), &args.registry).await?;
    let claim = image.claim(kind);
    let search = Search {
        forms: args.format,
        max_bundle_bytes: MAX_ATTESTATION_BYTES,
        stop_when_met: false,
        only,
        expectations,
    };
    let mut findings = image.search(&claim, &policy, &search, args.verdict.record()).await?;
    let (asked, record) = image.asked(&claim, &policy, &search, &mut findings);
    let predicates: Vec<Vec<u8>> =
        findings.accepted.iter().map(|found| predicate(&found.accepted).into()).collect();
    let mut report = image.report(&claim, &policy, findings);
    args.verdict.write(asked, record, report.verdict)?;
    if let (Some(path), Some(predicate)) = (&args.output, predicates.first()) {
        if predicates.iter().any(|other| other != predicate) {
            let bundles: Vec<_> = report.accepted.iter().map(|accepted| accepted.bundle.as_str()).collect();
            return Err(Failure::usage(
                format!(
                    "{} different attestations of this type verify, and `--output` takes one",
                    bundles.len()
                ),
                format!("choose with `--only`: {}", bundles.join(" or ")),
            ));
        }
        write_output_file(path, predicate, 0o644).map_err(|error| {
            let path = path.display();
            Failure::refused(
                format!("the predicate cannot be written to {path}: {error}"),
                "choose another `--output`",
            )
        })?;
        report.accepted[0].written_to = Some(path.display().to_string());
    }
    ui.report(&report);
    Ok(outcome(report.verdict))
}

/// The predicate of the statement.
fn predicate<'a>(accepted: &'a Accepted<'_>) -> &'a str {
    let predicate = accepted.statement.as_ref().and_then(|statement| statement.predicate.as_ref());
    predicate.map_or("null", |json| json.get())
}
