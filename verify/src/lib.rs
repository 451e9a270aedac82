//! Verifies images, SBOMs, files and snapshots.
//!
//! One way through: parse (`cli`), run one verb (`commands`), report, exit code. `signers` turns the flags into the
//! policy of trusted signers, `evidence` collects what is attached to an image and has each `item` judged, `findings`
//! turns the results into the report, and `checkpoint` remembers which snapshots were seen. A `question` answered from
//! a `record` of the evidence is a `verdict`, which can be written to a file and derived again.
//!
//! # An image, by the libraries alone
//!
//! `lifeboat_registry` returns bytes that match their digests, and `lifeboat_trust` decides what they show:
//!
//! ```
//! use lifeboat_registry::{Access, Artifact, Reference, Repository};
//! use lifeboat_trust::bundle::{Bundle, MAX_SIGNATURE_BYTES, MEDIA_TYPE, MEDIA_TYPE_PREFIX};
//! use lifeboat_trust::judge::{Claim, judge};
//! use lifeboat_trust::key::SigningKey;
//! use lifeboat_trust::policy::{Policy, Signer};
//! use lifeboat_trust::statement::{PredicateType, Statement};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use lifeboat_core::Sha256Digest;
//! # let home = tempfile::tempdir()?;
//! # let blobs = home.path().join("blobs/sha256");
//! # std::fs::create_dir_all(&blobs)?;
//! # let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
//! # let manifest = format!(
//! #     r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[]}}"#,
//! #     Sha256Digest::of(config).to_oci(),
//! #     config.len()
//! # );
//! # for blob in [&config[..], manifest.as_bytes()] {
//! #     std::fs::write(blobs.join(Sha256Digest::of(blob).to_string()), blob)?;
//! # }
//! # std::fs::write(home.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
//! # std::fs::write(
//! #     home.path().join("index.json"),
//! #     format!(
//! #         r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"1.0"}}}}]}}"#,
//! #         Sha256Digest::of(manifest.as_bytes()).to_oci(),
//! #         manifest.len()
//! #     ),
//! # )?;
//! # let layout = home.path().display();
//! // The tag is read once; from then on the digest is meant.
//! let reference: Reference = format!("oci:{layout}:1.0").parse()?;
//! let repository = Repository::open(&reference, Access::default())?;
//! let image = repository.resolve(&reference).await?.descriptor;
//!
//! // The release step signs.
//! let key = SigningKey::generate();
//! let statement = Statement::image_signature(image.digest, &Default::default());
//! let signature = Artifact {
//!     media_type: MEDIA_TYPE.to_owned(),
//!     content: Bundle::sign_statement(statement, &key)?.to_json(),
//!     annotations: Default::default(),
//!     created: jiff::Timestamp::now(),
//! };
//! repository.attach(&image, &signature).await?;
//!
//! // Admission looks for evidence, and judges each piece alone.
//! let repository = Repository::open(&reference, Access::default())?;
//! let release = Signer::Key { name: "release.pub".to_owned(), key: key.verification_key().clone() };
//! let policy = Policy { signers: vec![release], ..Policy::default() };
//! let claim = Claim { subject: image.digest, predicate_type: PredicateType::image_signature() };
//! let mut accepted = 0;
//! for manifest in repository.referrers(image.digest).await?.manifests {
//!     let found = repository.artifact(&manifest, MEDIA_TYPE_PREFIX, MAX_SIGNATURE_BYTES).await?;
//!     let Some(found) = found else { continue };
//!     match judge(&found.content, &claim, &policy) {
//!         Ok(_) => accepted += 1,
//!         Err(refusal) => println!("{}: {refusal}", manifest.digest),
//!     }
//! }
//! assert_eq!(accepted, 1);
//! # Ok(())
//! # }
//! ```

mod checkpoint;
mod cli;
mod commands;
mod evidence;
mod findings;
mod item;
mod question;
mod record;
mod signers;
mod verdict;

pub use verdict::{Answer, derive_again};

use lifeboat_shell::{Failure, Outcome, Ui, pages, unless_interrupted};

use crate::cli::{Cli, Verb};
use crate::commands::{attestation, blob, image, replay, snapshot, tree, trusted_root};

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(dispatch)
}

/// Runs one verb.
async fn dispatch(cli: Cli, ui: &Ui) -> Result<Outcome, Failure> {
    let command = async {
        match cli.verb {
            Verb::Image(args) => image::run(&args, ui).await,
            Verb::Attestation(args) => attestation::run(&args, ui).await,
            Verb::Blob(args) => blob::run(&args, ui),
            Verb::Snapshot(args) => snapshot::run(&args, ui).await,
            Verb::Tree(args) => tree::run(&args, ui).await,
            Verb::TrustedRoot(args) => trusted_root::run(&args, ui),
            Verb::Replay(args) => replay::run(&args, ui).await,
            Verb::Completions(args) => pages::completions::<Cli>(&args, ui),
            Verb::Man(args) => pages::man::<Cli>(&args, ui),
        }
    };
    unless_interrupted(ui, "before anything was decided", command).await
}
