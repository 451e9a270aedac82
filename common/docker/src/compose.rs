//! A container's Compose labels: which service it is, and what that depends on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One container's place in a compose project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Service {
    /// The project.
    pub project: String,
    /// The service.
    pub service: String,
    /// Which instance of it, from 1.
    pub number: u32,
}

/// What a service needs from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The other service, of the same project.
    pub service: String,
    /// The state that the other one must have reached.
    pub condition: Condition,
}

/// The state that a dependency must have reached before its dependants start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It was started.
    Started,
    /// Its health check passes.
    Healthy,
    /// It ran to completion with exit code 0.
    CompletedSuccessfully,
}

impl Service {
    pub(crate) fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            project: labels.get("com.docker.compose.project")?.clone(),
            service: labels.get("com.docker.compose.service")?.clone(),
            number: labels
                .get("com.docker.compose.container-number")
                .and_then(|n| n.parse().ok())
                .unwrap_or(1),
        })
    }
}

impl Dependency {
    /// Compose writes `service:condition:restart`, separated by commas; older versions wrote the service alone.
    pub(crate) fn from_labels(labels: &BTreeMap<String, String>) -> Vec<Self> {
        let Some(value) = labels.get("com.docker.compose.depends_on") else { return Vec::new() };
        value
            .split(',')
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                let mut parts = entry.split(':');
                let service = parts.next().unwrap_or_default().to_owned();
                let condition = match parts.next() {
                    Some("service_healthy") => Condition::Healthy,
                    Some("service_completed_successfully") => Condition::CompletedSuccessfully,
                    _ => Condition::Started,
                };
                Self { service, condition }
            })
            .collect()
    }
}
