//! The JSON form of trusted roots (Sigstore protobuf specs 0.5, `sigstore_trustroot.proto`), in both spellings that the
//! JSON form of protocol buffers allows. A root with an unknown member, or one that occurs twice, is refused, because
//! another reader would see a different root.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::json::{check_closed, printable};
use crate::path::{Authority, Window};

/// The media types of a trusted root: the present one, and its two predecessors.
const MEDIA_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
];

/// The hash algorithms of logs. Nothing depends on them here.
const HASH_ALGORITHMS: [&str; 3] = ["SHA2_256", "SHA2_384", "SHA2_512"];

/// The members that are lists, in both spellings.
const LISTS: &[&str] = &[
    "tlogs",
    "ctlogs",
    "certificateAuthorities",
    "certificate_authorities",
    "timestampAuthorities",
    "timestamp_authorities",
    "certificates",
];

/// A trusted root.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Root {
    #[serde(alias = "media_type")]
    pub(crate) media_type: String,
    #[serde(default)]
    pub(crate) tlogs: Vec<Log>,
    #[serde(default, alias = "certificate_authorities")]
    pub(crate) certificate_authorities: Vec<CertificateAuthority>,
    #[serde(default)]
    pub(crate) ctlogs: Vec<Log>,
    #[serde(default, alias = "timestamp_authorities")]
    pub(crate) timestamp_authorities: Vec<CertificateAuthority>,
}

/// A `TransparencyLogInstance`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are the format's")]
pub(crate) struct Log {
    #[serde(default, alias = "base_url")]
    pub(crate) base_url: String,
    #[serde(alias = "hash_algorithm")]
    pub(crate) hash_algorithm: String,
    #[serde(alias = "public_key")]
    pub(crate) public_key: PublicKey,
    #[serde(alias = "log_id")]
    pub(crate) log_id: LogId,
    #[serde(default, alias = "checkpoint_key_id", skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint_key_id: Option<LogId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operator: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LogId {
    #[serde(alias = "key_id")]
    pub(crate) key_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PublicKey {
    #[serde(alias = "raw_bytes")]
    pub(crate) raw_bytes: String,
    #[serde(alias = "key_details")]
    pub(crate) key_details: String,
    #[serde(default, alias = "valid_for", skip_serializing_if = "Option::is_none")]
    pub(crate) valid_for: Option<TimeRange>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeRange {
    pub(crate) start: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<String>,
}

/// A `CertificateAuthority`, which timestamp authorities are as well.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CertificateAuthority {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Subject>,
    #[serde(default)]
    pub(crate) uri: String,
    #[serde(alias = "cert_chain")]
    pub(crate) cert_chain: Chain,
    #[serde(default, alias = "valid_for", skip_serializing_if = "Option::is_none")]
    pub(crate) valid_for: Option<TimeRange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operator: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Subject {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    #[serde(default, alias = "common_name", skip_serializing_if = "Option::is_none")]
    common_name: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chain {
    #[serde(default)]
    pub(crate) certificates: Vec<Certificate>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Certificate {
    #[serde(alias = "raw_bytes")]
    pub(crate) raw_bytes: String,
}

impl Root {
    /// Parses the JSON form.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        check_closed(json, LISTS)?;
        let root: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if !MEDIA_TYPES.contains(&root.media_type.as_str()) {
            return Err(format!("its media type is `{}`", printable(&root.media_type)));
        }
        for log in root.tlogs.iter().chain(&root.ctlogs) {
            window(log.public_key.valid_for.as_ref())?;
            if !HASH_ALGORITHMS.contains(&log.hash_algorithm.as_str()) {
                return Err(format!("the hash algorithm of a log is `{}`", printable(&log.hash_algorithm)));
            }
        }
        Ok(root)
    }

    /// The JSON form with one spelling of each member, for readers that know only that one.
    ///
    /// # Panics
    /// Never: the form is strings only.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings always serialise")
    }
}

impl CertificateAuthority {
    pub(crate) fn authority(&self) -> Result<Authority, String> {
        let chain = self.cert_chain.certificates.iter().map(|one| decode("a certificate", &one.raw_bytes));
        Ok(Authority { chain: chain.collect::<Result<_, _>>()?, window: window(self.valid_for.as_ref())? })
    }
}

/// Decodes base64.
pub(crate) fn decode(what: &str, text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("{what} is not base64: {error}"))
}

/// Parses the id of a log.
pub(crate) fn log_id(id: &LogId) -> Result<Sha256Digest, String> {
    let id = decode("the id of a log", &id.key_id)?;
    let id =
        <[u8; 32]>::try_from(id).map_err(|id| format!("the id of a log has {} bytes, not 32", id.len()))?;
    Ok(Sha256Digest::from_bytes(id))
}

/// Parses a time range. One that ends before it begins is refused.
pub(crate) fn window(range: Option<&TimeRange>) -> Result<Option<Window>, String> {
    let Some(range) = range else { return Ok(None) };
    let time = |text: &str| {
        text.parse::<Timestamp>().map_err(|error| format!("`{}` is not a time: {error}", printable(text)))
    };
    let window = Window { start: time(&range.start)?, end: range.end.as_deref().map(time).transpose()? };
    if window.end.is_some_and(|end| end < window.start) {
        return Err(format!("a time range ends before it begins at {}", window.start));
    }
    Ok(Some(window))
}
