//! In-toto statements: a predicate about subjects that are named by digest (in-toto Attestation Framework,
//! "Statement").
//!
//! A payload is parsed once, from the bytes that were signed, and refused if two parsers could read it differently.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use lifeboat_core::{Fault, Kind, Sha256Digest};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json::{check_statement, printable};

/// `_type` of statement layer version 1.
const V1: &str = "https://in-toto.io/Statement/v1";
/// `_type` of statement layer version 0.1, which cosign still writes for attestations.
const V0_1: &str = "https://in-toto.io/Statement/v0.1";

/// How many subjects a statement may have before it is refused.
const MAX_SUBJECTS: usize = 1024;
/// How many digests a subject may have before its statement is refused.
const MAX_DIGESTS: usize = 32;

/// The type of a statement's predicate: the URI of its format.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PredicateType(String);

/// The short names of predicate types, the same as in cosign's `--type`.
const SHORT_NAMES: [(&str, &str); 6] = [
    ("spdxjson", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("openvex", "https://openvex.dev/ns"),
    ("custom", "https://cosign.sigstore.dev/attestation/v1"),
];

/// A text that is not a predicate type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a type of attestation: neither a known short name nor an absolute URI")]
pub struct UnknownPredicateType {
    /// The text, cut to a printable length.
    pub text: String,
}

impl Fault for UnknownPredicateType {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        let names = SHORT_NAMES.map(|(name, _)| name).join(", ");
        Some(format!("give one of {names}, or the predicate type's full URI"))
    }
}

impl PredicateType {
    /// The predicate type of a plain signature of an image, which says nothing but "this one".
    pub fn image_signature() -> Self {
        Self("https://sigstore.dev/cosign/sign/v1".to_owned())
    }

    /// The predicate type of the signature of a file, which says no more than "this one" either. It differs from that
    /// of an image, because the digest of a file may be that of a manifest.
    pub fn file_signature() -> Self {
        Self("urn:lifeboat:file:v0".to_owned())
    }

    /// Whether it is provenance, which describes how something was built.
    pub fn is_provenance(&self) -> bool {
        self.short_name() == Some("slsaprovenance1")
    }

    /// The type with this URI, which the program knows to be valid.
    pub fn of_uri(uri: &str) -> Self {
        Self(uri.to_owned())
    }

    /// The URI.
    pub fn uri(&self) -> &str {
        &self.0
    }

    /// The short name, if there is one.
    pub fn short_name(&self) -> Option<&'static str> {
        SHORT_NAMES.iter().find(|(_, uri)| *uri == self.0).map(|(name, _)| *name)
    }
}

impl FromStr for PredicateType {
    type Err = UnknownPredicateType;

    fn from_str(text: &str) -> Result<Self, UnknownPredicateType> {
        if let Some((_, uri)) = SHORT_NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self((*uri).to_owned()));
        }
        let is_uri = text.split_once("://").is_some_and(|(scheme, rest)| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
                && !rest.is_empty()
                && text.chars().all(|c| c.is_ascii_graphic())
                && text.len() <= 1024
        });
        // RFC 8141, section 2: an identifier of a namespace, and a name in it.
        let is_urn =
            text.strip_prefix("urn:").and_then(|rest| rest.split_once(':')).is_some_and(|(space, name)| {
                let is_known = |c: char| c.is_ascii_alphanumeric() || c == '-';
                !space.is_empty()
                    && space.chars().all(is_known)
                    && !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_graphic())
                    && text.len() <= 1024
            });
        if is_uri || is_urn {
            Ok(Self(text.to_owned()))
        } else {
            Err(UnknownPredicateType { text: printable(text) })
        }
    }
}

impl fmt::Display for PredicateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A parsed statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What it is about; at least one.
    pub subjects: Vec<Subject>,
    /// The type of its predicate.
    pub predicate_type: String,
    /// The predicate: one JSON value, byte for byte as it was signed. A plain signature may have none.
    pub predicate: Option<Box<RawValue>>,
}

/// One subject of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// A name for people; never compared.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Digests by algorithm, in lower-case hexadecimal.
    pub digest: DigestSet,
    /// The signer's annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, serde_json::Value>>,
}

impl Subject {
    fn of(name: String, digest: Sha256Digest, annotations: &BTreeMap<String, String>) -> Self {
        let values = annotations.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        let annotations = (!annotations.is_empty()).then(|| values.collect());
        Self { name, digest: digest.into(), annotations }
    }

    /// The value of an annotation, if it is a text.
    pub fn annotation(&self, name: &str) -> Option<String> {
        Some(self.annotations.as_ref()?.get(name)?.as_str()?.to_owned())
    }
}

/// Digests by algorithm. An algorithm that occurs twice is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DigestSet(BTreeMap<String, String>);

impl DigestSet {
    /// The set's `sha256`, if it is valid.
    pub fn sha256(&self) -> Option<Sha256Digest> {
        self.0.get("sha256")?.parse().ok()
    }

    /// The digest with another algorithm, verbatim.
    pub fn get(&self, algorithm: &str) -> Option<&str> {
        self.0.get(algorithm).map(String::as_str)
    }

    /// Whether the set's `sha256` is `digest`.
    pub fn matches(&self, digest: Sha256Digest) -> bool {
        self.0.get("sha256").is_some_and(|text| *text == digest.to_string())
    }

    /// The first digest with a known algorithm that is not valid (in-toto, "DigestSet"): it must be lower-case
    /// hexadecimal of the algorithm's length.
    fn malformed(&self) -> Option<(&str, &str)> {
        let is_malformed = |(algorithm, digest): &(&String, &String)| {
            let lengths: &[usize] = match algorithm.as_str() {
                "md5" => &[32],
                "sha1" => &[40],
                "sha224" | "sha512_224" | "sha3_224" => &[56],
                "sha256" | "sha512_256" | "sha3_256" | "blake2s" => &[64],
                "sha384" | "sha3_384" => &[96],
                "sha512" | "sha3_512" | "blake2b" => &[128],
                "gitBlob" | "gitCommit" | "gitTag" | "gitTree" => &[40, 64],
                _ => return false,
            };
            let is_hex = digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            !is_hex || !lengths.contains(&digest.len())
        };
        self.0.iter().find(is_malformed).map(|(algorithm, digest)| (algorithm.as_str(), digest.as_str()))
    }

    /// The `sha256` in the statement, or the algorithms that it has instead; cut to a printable length.
    pub fn shown(&self) -> String {
        match self.0.get("sha256") {
            Some(text) => format!("sha256:{}", printable(text)),
            None => printable(&self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
        }
    }
}

impl From<Sha256Digest> for DigestSet {
    fn from(digest: Sha256Digest) -> Self {
        Self(BTreeMap::from([("sha256".to_owned(), digest.to_string())]))
    }
}

impl Serialize for DigestSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

impl<'de> Deserialize<'de> for DigestSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digests;
        impl<'de> Visitor<'de> for Digests {
            type Value = DigestSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("digests by algorithm")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DigestSet, A::Error> {
                let mut digests = BTreeMap::new();
                while let Some((algorithm, digest)) = map.next_entry::<String, String>()? {
                    if digests.len() >= MAX_DIGESTS {
                        return Err(A::Error::custom("too many digests"));
                    }
                    if digests.insert(algorithm, digest).is_some() {
                        return Err(A::Error::custom("a digest algorithm stands twice"));
                    }
                }
                Ok(DigestSet(digests))
            }
        }
        deserializer.deserialize_map(Digests)
    }
}

/// A payload that is not a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signed payload is not an in-toto statement ({reason})")]
pub struct NotAStatement {
    /// What was found instead.
    pub reason: String,
}

/// The JSON form. Unknown fields are ignored, as the framework requires; known ones may occur once.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    #[serde(rename = "_type")]
    layer: String,
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    predicate: Option<Box<RawValue>>,
}

impl Statement {
    /// Parses a payload whose signature has been verified.
    pub fn parse(payload: &[u8]) -> Result<Self, NotAStatement> {
        let refused = |reason: String| NotAStatement { reason };
        check_statement(payload).map_err(refused)?;
        let json: Json = serde_json::from_slice(payload).map_err(|error| refused(error.to_string()))?;
        if ![V1, V0_1].contains(&json.layer.as_str()) {
            return Err(refused(format!("its _type is `{}`", printable(&json.layer))));
        }
        if json.subject.is_empty() || json.subject.len() > MAX_SUBJECTS {
            return Err(refused(format!("it has {} subjects", json.subject.len())));
        }
        if let Some((algorithm, digest)) = json.subject.iter().find_map(|subject| subject.digest.malformed())
        {
            let (algorithm, digest) = (printable(algorithm), printable(digest));
            return Err(refused(format!("`{digest}` is not a digest by {algorithm}")));
        }
        Ok(Self { subjects: json.subject, predicate_type: json.predicate_type, predicate: json.predicate })
    }

    /// The payload of a plain signature of the image `digest`, as cosign 3 writes it.
    pub fn image_signature(digest: Sha256Digest, annotations: &BTreeMap<String, String>) -> Vec<u8> {
        let subject = Subject::of(String::new(), digest, annotations);
        to_payload(V1, subject, &PredicateType::image_signature(), empty_object())
    }

    /// The payload of the signature of the file `name` with the digest `digest`: a statement about it, so that the
    /// signature covers more than the file's bytes, which could be what another signature covers.
    pub fn file(digest: Sha256Digest, name: &str) -> Vec<u8> {
        let subject = Subject::of(name.to_owned(), digest, &BTreeMap::new());
        to_payload(V1, subject, &PredicateType::file_signature(), empty_object())
    }

    /// The payload of an attestation that states `predicate` about the image `digest` of the repository `name`.
    pub fn attestation(
        digest: Sha256Digest,
        name: &str,
        kind: &PredicateType,
        predicate: &Predicate,
        annotations: &BTreeMap<String, String>,
    ) -> Vec<u8> {
        to_payload(V0_1, Subject::of(name.to_owned(), digest, annotations), kind, predicate.0.clone())
    }

    /// The index of the subject that is `digest`; if there are several, the first.
    pub(crate) fn place_of(&self, digest: Sha256Digest) -> Option<usize> {
        self.subjects.iter().position(|subject| subject.digest.matches(digest))
    }
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("an empty object is JSON")
}

fn to_payload(layer: &str, subject: Subject, kind: &PredicateType, predicate: Box<RawValue>) -> Vec<u8> {
    let json = Json {
        layer: layer.to_owned(),
        subject: vec![subject],
        predicate_type: kind.uri().to_owned(),
        predicate: Some(predicate),
    };
    serde_json::to_vec(&json).expect("strings and JSON always serialise")
}

/// The content of a predicate file, whose first members were checked to match its type.
#[derive(Debug)]
pub struct Predicate(Box<RawValue>);

/// Why a predicate file does not match its type.
#[derive(Debug, thiserror::Error)]
pub enum PredicateError {
    /// The file is not JSON.
    #[error("the predicate is not JSON ({reason})")]
    NotJson {
        /// The decoder's error.
        reason: String,
    },
    /// The file is JSON of another kind.
    #[error("the predicate is not a document of the type `{expected}`: it has no `{member}`")]
    OtherKind {
        /// The type that was asked for.
        expected: String,
        /// The member that every such document has.
        member: &'static str,
    },
}

impl Fault for PredicateError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        Some("check that `--predicate` and `--type` belong together, such as `syft IMAGE -o spdx-json` and spdxjson".into())
    }
}

/// cosign's wrapper around what it calls a custom predicate.
#[derive(Serialize)]
struct Custom<'a> {
    #[serde(rename = "Data")]
    data: &'a str,
    #[serde(rename = "Timestamp")]
    timestamp: String,
}

impl Predicate {
    /// Takes the file's content as a predicate of type `kind`. The type `custom` takes any text and wraps it with the
    /// time `now`, as cosign does; every other type is a JSON document, kept byte for byte. White space around it is
    /// dropped, because a statement holds one JSON value.
    ///
    /// # Panics
    /// Never: strings always serialise.
    pub fn from_file(kind: &PredicateType, content: Vec<u8>, now: Timestamp) -> Result<Self, PredicateError> {
        let not_json = |reason: String| PredicateError::NotJson { reason };
        let text = String::from_utf8(content).map_err(|error| not_json(error.to_string()))?;
        if kind.short_name() == Some("custom") {
            let timestamp = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let wrapped = serde_json::value::to_raw_value(&Custom { data: &text, timestamp });
            return Ok(Self(wrapped.expect("strings always serialise")));
        }
        let members: &[&'static str] = match kind.short_name() {
            // SPDX 3 documents are JSON-LD.
            Some("spdxjson") => &["spdxVersion", "@context"],
            Some("cyclonedx") => &["bomFormat"],
            Some("slsaprovenance1") => &["buildDefinition"],
            Some("vuln") => &["scanner"],
            Some("openvex") => &["@context"],
            _ => &[],
        };
        if !members.is_empty() {
            let document: BTreeMap<String, &RawValue> =
                serde_json::from_str(&text).map_err(|error| not_json(error.to_string()))?;
            if !members.iter().any(|member| document.contains_key(*member)) {
                let expected = kind.short_name().unwrap_or_default().to_owned();
                return Err(PredicateError::OtherKind { expected, member: members[0] });
            }
        }
        RawValue::from_string(text.trim().to_owned()).map(Self).map_err(|error| not_json(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Sha256Digest {
        Sha256Digest::of(b"image")
    }

    #[test]
    fn the_payload_of_a_signature_is_the_one_that_cosign_writes() {
        let payload = String::from_utf8(Statement::image_signature(digest(), &BTreeMap::new())).unwrap();
        insta::assert_snapshot!(payload, @r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}"#);
        let statement = Statement::parse(payload.as_bytes()).unwrap();
        assert_eq!(statement.place_of(digest()), Some(0));
        assert_eq!(statement.place_of(Sha256Digest::of(b"other")), None);
    }

    #[test]
    fn a_predicate_is_kept_byte_for_byte() {
        let kind: PredicateType = "spdxjson".parse().unwrap();
        let document = "{ \"spdxVersion\":\"SPDX-2.3\",\n  \"big\": 12345678901234567890.000 }";
        let predicate =
            Predicate::from_file(&kind, format!(" {document}\n\n").into_bytes(), Timestamp::UNIX_EPOCH)
                .unwrap();
        let payload =
            Statement::attestation(digest(), "registry.example/app", &kind, &predicate, &BTreeMap::new());
        let statement = Statement::parse(&payload).unwrap();
        assert_eq!(statement.predicate.unwrap().get(), document);
        assert_eq!(statement.predicate_type, "https://spdx.dev/Document");
        assert_eq!(statement.subjects[0].name, "registry.example/app");
    }

    #[test]
    fn a_predicate_of_another_kind_is_refused() {
        let check = |kind: &str, content: &str| {
            Predicate::from_file(&kind.parse().unwrap(), content.as_bytes().to_vec(), Timestamp::UNIX_EPOCH)
                .map(|predicate| predicate.0.get().to_owned())
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            check("cyclonedx", r#"{"spdxVersion":"SPDX-2.3"}"#).unwrap_err(),
            "the predicate is not a document of the type `cyclonedx`: it has no `bomFormat`"
        );
        assert!(check("spdxjson", "spdx").unwrap_err().starts_with("the predicate is not JSON"));
        assert!(check("https://example.com/type", "{").is_err());
        assert_eq!(check("https://example.com/type", "[1]").unwrap(), "[1]");
        assert_eq!(
            check("custom", "any text").unwrap(),
            r#"{"Data":"any text","Timestamp":"1970-01-01T00:00:00Z"}"#
        );
    }

    #[test]
    fn statements_that_could_be_read_in_two_ways_are_refused() {
        let hash = digest();
        let subject = format!(r#"{{"digest":{{"sha256":"{hash}"}}}}"#);
        let statement = |members: &str| format!(r#"{{"_type":"{V1}",{members}}}"#);
        let hostile = [
            statement(&format!(r#""subject":[{subject}],"predicateType":"a","predicateType":"b""#)),
            statement(&format!(r#""subject":[{subject}],"subject":[],"predicateType":"a""#)),
            statement(&format!(
                r#""subject":[{{"digest":{{"sha256":"{hash}","sha256":"00"}}}}],"predicateType":"a""#
            )),
            statement(r#""subject":[],"predicateType":"a""#),
            statement(&format!(
                r#""subject":[{}],"predicateType":"a""#,
                vec![subject.as_str(); 1025].join(",")
            )),
            format!(
                r#"{{"_type":"https://in-toto.io/Statement/v9","subject":[{subject}],"predicateType":"a"}}"#
            ),
            format!(r#"{{"subject":[{subject}],"predicateType":"a"}}"#),
            statement(&format!(
                r#""subject":[{subject}],"predicateType":"a","predicate":{}"#,
                "[".repeat(100_000)
            )),
            "null".to_owned(),
            String::new(),
        ];
        for payload in hostile {
            assert!(Statement::parse(payload.as_bytes()).is_err(), "{payload:.200}");
        }
        let unknown = statement(&format!(r#""extra":1,"subject":[{subject}],"predicateType":"a""#));
        Statement::parse(unknown.as_bytes()).unwrap();
    }

    #[test]
    fn digests_of_subjects_are_such_by_their_algorithms() {
        let parse = |digests: &str| {
            let good = Sha256Digest::of(b"");
            let json = format!(
                r#"{{"_type":"{V1}","subject":[{{"digest":{{"sha256":"{good}"}}}},{{"digest":{{{digests}}}}}],"predicateType":"a"}}"#
            );
            Statement::parse(json.as_bytes()).map(drop).map_err(|error| error.reason)
        };
        let (commit, hash) = ("c".repeat(40), "0".repeat(64));
        for good in [
            format!(r#""gitCommit":"{commit}""#),
            format!(r#""gitTree":"{hash}""#),
            r#""own":"X""#.to_owned(),
        ] {
            parse(&good).unwrap();
        }
        for bad in [
            r#""sha256":"0""#.to_owned(),
            format!(r#""sha256":"{}""#, "g".repeat(64)),
            format!(r#""sha512":"{hash}""#),
            format!(r#""sha1":"{}""#, commit.to_uppercase()),
            r#""gitCommit":"cccc""#.to_owned(),
        ] {
            assert!(parse(&bad).unwrap_err().contains("is not a digest by"), "{bad}");
        }
    }

    #[test]
    fn only_short_names_and_uris_are_types() {
        assert_eq!(
            "vuln".parse::<PredicateType>().unwrap().uri(),
            "https://cosign.sigstore.dev/attestation/vuln/v1"
        );
        assert_eq!("https://example.com/x".parse::<PredicateType>().unwrap().short_name(), None);
        assert_eq!("urn:lifeboat:file:v0".parse(), Ok(PredicateType::file_signature()));
        for bad in ["urn:", "urn:x", "urn:x:", "urn::x", "urn:x:a b", "urn:a b:x"] {
            assert!(bad.parse::<PredicateType>().is_err(), "{bad}");
        }
        for bad in ["", "spdx", "://x", "https://", "1http://x", "https://a b", "https://a\n"] {
            assert!(bad.parse::<PredicateType>().is_err(), "{bad}");
        }
    }
}
