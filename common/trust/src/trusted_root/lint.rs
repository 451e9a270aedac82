//! Problems with a trusted root, and what else is worth knowing about it.

use std::fmt;

use jiff::Timestamp;
use sigstore_verify::Verifier;
use sigstore_verify::trust_root::TrustedRoot as Parsed;

use super::wire::{self, CertificateAuthority, Root};
use crate::json::printable;
use crate::log::Log;
use crate::path::{Facts, Purpose, Window, is_issued_by};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is wrong.
    Information,
    /// It works, but permits more than its maker may have meant.
    Warning,
    /// Something in it does not belong in its place.
    Error,
}

/// A finding about a trusted root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// Where, such as `certificateAuthorities[0].certChain.certificates[1]`.
    pub place: String,
    /// What.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Checks everything in a trusted root, as of `now`. The caller has capped its size.
pub fn lint(json: &[u8], now: Timestamp) -> Vec<Finding> {
    let mut lint = Lint { now, findings: Vec::new() };
    match Root::parse(json) {
        Ok(root) => lint.root(&root),
        Err(reason) => lint.error("$", reason),
    }
    lint.findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    lint.findings
}

struct Lint {
    now: Timestamp,
    findings: Vec<Finding>,
}

/// An instance of an operator, by name, and its period of validity.
struct Instance {
    place: String,
    operator: String,
    window: Option<Window>,
}

impl Lint {
    fn add(&mut self, level: Level, place: &str, text: String) {
        self.findings.push(Finding { level, place: place.to_owned(), text });
    }

    fn error(&mut self, place: &str, text: String) {
        self.add(Level::Error, place, text);
    }

    fn root(&mut self, root: &Root) {
        for (name, logs) in [("tlogs", &root.tlogs), ("ctlogs", &root.ctlogs)] {
            let mut instances = Vec::new();
            for (number, log) in logs.iter().enumerate() {
                let place = format!("{name}[{number}]");
                if name == "tlogs"
                    && let Err(reason) = Log::read(log)
                {
                    self.error(&place, reason);
                }
                let operator = log.operator.clone().unwrap_or_else(|| host(&log.base_url));
                self.window(&place, log.public_key.valid_for.as_ref(), operator, &mut instances);
            }
            self.open_windows(&instances);
        }
        let kinds = [
            ("certificateAuthorities", &root.certificate_authorities, Purpose::CodeSigning),
            ("timestampAuthorities", &root.timestamp_authorities, Purpose::TimeStamping),
        ];
        for (name, authorities, purpose) in kinds {
            let mut instances = Vec::new();
            for (number, authority) in authorities.iter().enumerate() {
                let place = format!("{name}[{number}]");
                self.chain(&place, authority, purpose);
                let operator = authority.operator.clone().unwrap_or_else(|| host(&authority.uri));
                self.window(&place, authority.valid_for.as_ref(), operator, &mut instances);
            }
            self.open_windows(&instances);
        }
        // It may still contain something of a kind that the library does not support.
        if !self.findings.iter().any(|finding| finding.level == Level::Error) {
            let verifier = Parsed::from_json(&root.to_json()).map(|root| Verifier::new(&root).map(drop));
            let problem = match verifier {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = problem {
                self.error("$", reason);
            }
        }
    }

    /// Checks the window of an instance.
    fn window(
        &mut self,
        place: &str,
        range: Option<&wire::TimeRange>,
        operator: String,
        instances: &mut Vec<Instance>,
    ) {
        match wire::window(range) {
            Err(reason) => self.error(place, reason),
            Ok(window) => {
                if let Some(end) = window.and_then(|window| window.end).filter(|end| *end < self.now) {
                    self.add(
                        Level::Information,
                        place,
                        format!("it is believed for what was made until {end} only"),
                    );
                }
                instances.push(Instance { place: place.to_owned(), operator, window });
            }
        }
    }

    /// An instance that was replaced by another one, but is trusted for ever, may have been forgotten.
    fn open_windows(&mut self, instances: &[Instance]) {
        for one in instances {
            let start = one.window.map_or(Timestamp::MIN, |window| window.start);
            let newer = instances.iter().find(|other| {
                other.operator == one.operator
                    && other.window.is_some_and(|window| window.start > start && window.start <= self.now)
            });
            if let Some(newer) = newer.filter(|_| one.window.is_none_or(|window| window.end.is_none())) {
                let operator = printable(&one.operator);
                let text = format!(
                    "it is believed without end, and {} of the same operator ({operator}) has begun: give it a \
                     `validFor.end` if it is out of use",
                    newer.place
                );
                self.add(Level::Warning, &one.place, text);
            }
        }
    }

    /// Checks the certificates of an authority.
    fn chain(&mut self, place: &str, authority: &CertificateAuthority, purpose: Purpose) {
        let certificates = &authority.cert_chain.certificates;
        if certificates.is_empty() {
            self.error(place, "it has no certificates".to_owned());
        }
        let mut ders = Vec::new();
        for (number, certificate) in certificates.iter().enumerate() {
            let place = format!("{place}.certChain.certificates[{number}]");
            let der = wire::decode("the certificate", &certificate.raw_bytes);
            let facts = der.and_then(|der| {
                let facts = Facts::read(&der)?;
                ders.push((place.clone(), der));
                Ok(facts)
            });
            match facts {
                Err(reason) => self.error(&place, reason),
                Ok(facts) => self.certificate(&place, &facts, number == 0, purpose),
            }
        }
        if ders.len() != certificates.len() {
            return;
        }
        let mut backwards = ders.windows(2).map(|pair| is_issued_by(&pair[1].1, &pair[0].1).is_ok());
        if ders.len() > 1 && backwards.all(|is_issued| is_issued) {
            let text =
                "its chain begins with the root: the last certificate, which is believed, is not the root";
            self.add(Level::Warning, place, text.to_owned());
            return;
        }
        for pair in ders.windows(2) {
            let [(place, der), (_, issuer)] = pair else { continue };
            if let Err(reason) = is_issued_by(der, issuer) {
                self.error(
                    place,
                    format!("the certificate after it in the chain did not issue it: {reason}"),
                );
            }
        }
    }

    fn certificate(&mut self, place: &str, facts: &Facts, is_first: bool, purpose: Purpose) {
        let subject = printable(&facts.subject);
        // A timestamp authority's chain starts with the signing certificate.
        let is_leaf = purpose == Purpose::TimeStamping && is_first && facts.ca.is_none();
        if !is_leaf && let Err(reason) = facts.issues(purpose) {
            self.error(place, format!("`{subject}` {reason}"));
        } else if !is_leaf && facts.signs_certificates.is_none() {
            self.add(Level::Warning, place, format!("`{subject}` does not say what it may sign (keyUsage)"));
        }
        if let Some(end) = facts.window.end.filter(|end| *end < self.now) {
            self.add(Level::Information, place, format!("`{subject}` was valid until {end}"));
        }
    }
}

/// The host of a URL, used as the operator if none is named.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
