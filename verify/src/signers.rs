//! The flags that say which signers are trusted and what their signatures need, and the policy made from them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use lifeboat_core::clock::{Clock as _, SystemClock};
use lifeboat_core::limits::{SMALL_FILE_BYTES, read_file_capped};
use lifeboat_core::{Fault, Kind};
use lifeboat_trust::identity::{BadPattern, Pattern};
use lifeboat_trust::key_file::{self, KeyFileError};
use lifeboat_trust::policy::{Demands, Policy, Signer};
use lifeboat_trust::trusted_root::{NotATrustedRoot, TrustedRoot};
use lifeboat_trust::witness::{NoQuorum, NotAWitness, Quorum, Witness};

/// The largest trusted root that is read, in bytes.
pub(crate) const MAX_ROOT_BYTES: u64 = 4 << 20;

/// The flags that name signers.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Signers")]
#[group(id = "identities", multiple = false, args = ["identity", "identity_regexp"])]
pub(crate) struct SignerFlags {
    /// Public key of a signer whose word counts; give it again for more, of which any one is enough
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Identity in the certificate of a signer without a key: an e-mail address or a URI, compared whole
    #[arg(long = "certificate-identity", value_name = "ID", requires = "issuers")]
    identity: Option<String>,
    /// The same as a regular expression, which must match all of it
    #[arg(
        long = "certificate-identity-regexp",
        value_name = "RE",
        requires = "issuers",
        conflicts_with = "identity"
    )]
    identity_regexp: Option<String>,
    #[command(flatten)]
    issuer: IssuerFlags,
    /// How many different signers must have signed [default: 1]
    ///
    /// Each --key and the identity is one signer, also an identity that is a pattern. One party counts once, whatever it
    /// signed: a key, a certificate for that key, and all certificates of one identity.
    #[arg(long, value_name = "N")]
    threshold: Option<u16>,
}

/// The flags that name who vouches for the identity.
#[derive(Debug, clap::Args)]
#[group(id = "issuers", multiple = false, args = ["issuer", "issuer_regexp"])]
struct IssuerFlags {
    /// Who vouches for that identity: the URL of an OIDC issuer, compared whole
    #[arg(long = "certificate-oidc-issuer", value_name = "URL", requires = "identities")]
    issuer: Option<String>,
    /// The same as a regular expression, which must match all of it
    #[arg(long = "certificate-oidc-issuer-regexp", value_name = "RE", requires = "identities")]
    issuer_regexp: Option<String>,
}

/// The flags that say what a signature must bring.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Evidence")]
pub(crate) struct EvidenceFlags {
    /// Whom to believe about certificates, logs and times [default: Sigstore's public-good instance, built in]
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
    /// An annotation that must have been signed with the image; give it again for more
    #[arg(long = "annotation", value_name = "NAME=VALUE", value_parser = parse_annotation)]
    annotations: Vec<(String, String)>,
    /// Refuse signatures that may have been made before this time
    ///
    /// Against going back to an old image whose signature is still good. What shows that a signature is not older is its
    /// certificate, which is valid only since a time, or a time in the signed statement, such as that of a scan. Logs and
    /// timestamps show only that it was there, so that the plain signature of a key is refused.
    #[arg(long, value_name = "TIME")]
    min_time: Option<jiff::Timestamp>,
    /// Require a verified log entry for signatures with a key as well
    #[arg(long)]
    require_log: bool,
    /// Verifier key of a witness that must have signed the log's checkpoint; give it again for more
    ///
    /// A file with one line, `name+hash+key`, as witnesses publish it (C2SP). Every signature then needs a log entry.
    #[arg(long = "witness", value_name = "FILE")]
    witnesses: Vec<PathBuf>,
    /// How many of these witnesses must have signed it [default: all of them]
    #[arg(long, value_name = "N", requires = "witnesses")]
    witness_threshold: Option<u16>,
    /// Accept signatures with a certificate that no log has, if a timestamp authority saw them
    #[arg(long, conflicts_with_all = ["require_log", "witnesses"])]
    insecure_ignore_tlog: bool,
    /// Accept certificates that no certificate transparency log has
    #[arg(long)]
    insecure_ignore_sct: bool,
}

impl SignerFlags {
    /// Refuses `--threshold` for a verb that counts nothing.
    pub(crate) fn refuse_threshold(&self, why: &'static str) -> Result<(), SignersError> {
        match self.threshold {
            Some(_) => Err(SignersError::NotApplied { flag: "--threshold", why }),
            None => Ok(()),
        }
    }
}

impl EvidenceFlags {
    /// Refuses `--annotation` for signatures that cannot have any.
    pub(crate) fn refuse_annotations(&self, why: &'static str) -> Result<(), SignersError> {
        match self.annotations.as_slice() {
            [] => Ok(()),
            _ => Err(SignersError::NotApplied { flag: "--annotation", why }),
        }
    }

    /// The first of these flags that was given.
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.trusted_root.is_some(), "--trusted-root"),
            (!self.annotations.is_empty(), "--annotation"),
            (self.min_time.is_some(), "--min-time"),
            (self.require_log, "--require-log"),
            (!self.witnesses.is_empty(), "--witness"),
            (self.insecure_ignore_tlog, "--insecure-ignore-tlog"),
            (self.insecure_ignore_sct, "--insecure-ignore-sct"),
        ];
        given.iter().find(|(is_given, _)| *is_given).map(|(_, flag)| *flag)
    }
}

/// Refuses a name that is given twice, because only one of its two values could hold.
pub(crate) fn once<V>(
    flag: &'static str,
    pairs: impl IntoIterator<Item = (String, V)>,
) -> Result<BTreeMap<String, V>, SignersError> {
    let mut named = BTreeMap::new();
    for (name, value) in pairs {
        if named.insert(name.clone(), value).is_some() {
            return Err(SignersError::Twice { flag, name });
        }
    }
    Ok(named)
}

/// Parses `NAME=VALUE`.
pub(crate) fn parse_annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Why no policy can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignersError {
    /// The file cannot be read.
    #[error("the {what} {} cannot be read", path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    /// The file is not a public key.
    #[error("the key file {} cannot be used", path.display())]
    Key { path: PathBuf, source: KeyFileError },
    /// The file is not a trusted root.
    #[error("the trusted root {} cannot be used", path.display())]
    Root { path: PathBuf, source: NotATrustedRoot },
    /// The file is not a witness's key.
    #[error("the witness's key {} cannot be used", path.display())]
    Witness { path: PathBuf, source: NotAWitness },
    /// The witnesses cannot form a quorum.
    #[error(transparent)]
    Quorum(NoQuorum),
    /// The identity or issuer is not a usable pattern.
    #[error(transparent)]
    Pattern(BadPattern),
    /// No signer is trusted.
    #[error("no signer was named, so that nobody's word counts")]
    NoSigner,
    /// More signers are required than are named.
    #[error("{threshold} signers must have signed, and only {named} are named{}", if *is_twice { ": one of them twice" } else { "" })]
    Unreachable { threshold: u16, named: usize, is_twice: bool },
    /// The flag would have no effect.
    #[error("`{flag}` cannot be applied here: {why}")]
    NotApplied { flag: &'static str, why: &'static str },
    /// A name is given twice.
    #[error("`{flag}` names `{}` twice", name.escape_default())]
    Twice { flag: &'static str, name: String },
    /// The threshold is 0, which anything would meet.
    #[error("a threshold of 0 would accept what nobody signed")]
    NoThreshold,
}

impl Fault for SignersError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Read { what: "key file", .. } => Some("give the signer's .pub file to `--key`".to_owned()),
            Self::Read { .. } => Some("check its name and permissions".to_owned()),
            Self::Key { source, .. } => source.advice(),
            Self::Root { source, .. } => source.advice(),
            Self::Witness { source, .. } => source.advice(),
            Self::Quorum(source) => source.advice(),
            Self::Pattern(source) => source.advice(),
            Self::Unreachable { .. } => Some("give more `--key`, or lower `--threshold`".to_owned()),
            Self::NoSigner => Some(
                "give `--key FILE`, or `--certificate-identity ID` with `--certificate-oidc-issuer URL`"
                    .to_owned(),
            ),
            Self::NotApplied { .. } => {
                Some("leave it out, or name signers and what they must have signed".to_owned())
            }
            Self::Twice { .. } => Some("give each name once".to_owned()),
            Self::NoThreshold => Some("give a `--threshold` of 1 or more".to_owned()),
        }
    }
}

fn read(what: &'static str, path: &Path, cap: u64) -> Result<Vec<u8>, SignersError> {
    read_file_capped(path, cap).map_err(|source| SignersError::Read { what, path: path.to_owned(), source })
}

/// Makes the policy from the flags. A key that cannot be used fails the whole call, so that nobody believes it counted.
pub(crate) fn policy(flags: &SignerFlags, evidence: &EvidenceFlags) -> Result<Policy, SignersError> {
    if flags.keys.is_empty() && flags.identity.is_none() && flags.identity_regexp.is_none() {
        return Err(SignersError::NoSigner);
    }
    policy_or_none(flags, evidence)
}

/// The same for verbs that need no signer. A policy without signers accepts nothing, so it can demand nothing of their
/// signatures.
pub(crate) fn policy_or_none(flags: &SignerFlags, evidence: &EvidenceFlags) -> Result<Policy, SignersError> {
    let signers = named(flags)?;
    if signers.is_empty() {
        let flag =
            flags.threshold.filter(|n| *n > 0).map(|_| "--threshold").or_else(|| evidence.first_given());
        if let Some(flag) = flag {
            return Err(SignersError::NotApplied { flag, why: "no signer is named" });
        }
    }
    let mut policy = Policy { signers, now: SystemClock.now(), ..Policy::default() };
    let named = policy.distinct_signers();
    policy.threshold = match flags.threshold.unwrap_or(1) {
        0 => return Err(SignersError::NoThreshold),
        threshold if usize::from(threshold) > named.max(1) => {
            let is_twice = named < policy.signers.len();
            return Err(SignersError::Unreachable { threshold, named, is_twice });
        }
        threshold => usize::from(threshold),
    };
    if let Some(path) = &evidence.trusted_root {
        let json = read("trusted root", path, MAX_ROOT_BYTES)?;
        policy.root = TrustedRoot::from_json(&path.display().to_string(), &json)
            .map_err(|source| SignersError::Root { path: path.clone(), source })?;
    }
    policy.demands =
        Demands { log: !evidence.insecure_ignore_tlog, certificate_log: !evidence.insecure_ignore_sct };
    policy.keys_need_log = evidence.require_log;
    policy.quorum = Quorum::new(witnesses(&evidence.witnesses)?, evidence.witness_threshold.map(usize::from))
        .map_err(SignersError::Quorum)?;
    policy.annotations = once("--annotation", evidence.annotations.iter().cloned())?;
    policy.minimum_time = evidence.min_time;
    Ok(policy)
}

fn keys(paths: &[PathBuf]) -> Result<Vec<Signer>, SignersError> {
    let read = |path: &PathBuf| {
        let file = read("key file", path, SMALL_FILE_BYTES)?;
        let key = key_file::read_public(&file)
            .map_err(|source| SignersError::Key { path: path.clone(), source })?;
        Ok(Signer::Key { name: path.display().to_string(), key })
    };
    paths.iter().map(read).collect()
}

fn witnesses(paths: &[PathBuf]) -> Result<Vec<Witness>, SignersError> {
    let read = |path: &PathBuf| {
        let file = read("witness's key", path, SMALL_FILE_BYTES)?;
        // Bytes that are not UTF-8 are not a key either: the replacement characters are refused.
        Witness::from_vkey(&String::from_utf8_lossy(&file))
            .map_err(|source| SignersError::Witness { path: path.clone(), source })
    };
    paths.iter().map(read).collect()
}

fn named(flags: &SignerFlags) -> Result<Vec<Signer>, SignersError> {
    let mut signers = keys(&flags.keys)?;
    let identity = pattern("identity", flags.identity.as_deref(), flags.identity_regexp.as_deref())?;
    let issuer = pattern("issuer", flags.issuer.issuer.as_deref(), flags.issuer.issuer_regexp.as_deref())?;
    if let (Some(identity), Some(issuer)) = (identity, issuer) {
        signers.push(Signer::Identity { identity, issuer });
    }
    Ok(signers)
}

fn pattern(
    what: &'static str,
    exact: Option<&str>,
    regex: Option<&str>,
) -> Result<Option<Pattern>, SignersError> {
    let exact = exact.map(|text| Pattern::exact(what, text));
    exact.or_else(|| regex.map(|text| Pattern::regex(what, text))).transpose().map_err(SignersError::Pattern)
}
