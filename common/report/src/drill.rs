//! The report of a rehearsed restore: what was restored, what that proved, how long it took, and what was not tested.

mod html;
mod tidy;
mod words;

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::Report;
use crate::restore::DifferenceLine;

/// What a drill came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The snapshot restored without a difference, the application came up, and every check passed, at least one of
    /// them about the data.
    Verified,
    /// Something that was tested is wrong.
    Failed,
    /// Nothing was found wrong, but not enough could be tested.
    CouldNotVerify,
}

/// A time that was measured, and the target for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Objective {
    /// What was measured, in seconds; none when the drill did not come that far.
    pub measured_seconds: Option<f64>,
    /// The plan's target, in seconds.
    pub target_seconds: Option<f64>,
    /// Whether the target was met; none without a target or a measurement.
    pub met: Option<bool>,
}

/// One phase of the drill.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Phase {
    /// Its name: `restore`, `compare`, `boot`, `checks`, …
    pub name: String,
    /// How long it took.
    pub elapsed_seconds: f64,
    /// Whether it counts towards the recovery time: comparing and proving isolation belong to the drill, not to a
    /// recovery.
    pub counts: bool,
}

/// One restored volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrilledVolume {
    /// Its name in the snapshot.
    pub name: String,
    /// How many files were restored.
    pub restored_files: u64,
    /// How many bytes were restored.
    pub restored_bytes: u64,
    /// What differs from the snapshot after the restore and before the boot; none when it was not compared.
    pub differences: Option<Vec<DifferenceLine>>,
}

/// The image that a service was started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrilledImage {
    /// The name that the application used, for people.
    pub reference: String,
    /// The image's id, by which it was started.
    pub id: String,
    /// The digest by which a registry knows it.
    pub digest: Option<String>,
    /// What is known of its signature, in words.
    pub signature: String,
}

/// A service that was started.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrilledService {
    /// Its name.
    pub name: String,
    /// The image's reference.
    pub image: String,
    /// `healthy`, `running`, `completed`, or `not up`.
    pub state: String,
    /// From its start until it was up, or was given up.
    pub elapsed_seconds: f64,
    /// Why it was not up.
    pub problem: Option<String>,
    /// Its last lines, when it was not up; values of environment variables are struck out.
    pub log: Option<String>,
}

/// One check of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrilledCheck {
    /// Its name.
    pub name: String,
    /// `exec`, `sql` or `tcp`.
    pub kind: String,
    /// The service that it asked.
    pub service: String,
    /// What it did, in words.
    pub action: String,
    /// What was expected, in words.
    pub expected: String,
    /// Whether it says something about the data, not only that something answers.
    pub proves_data: bool,
    /// Whether it passed.
    pub passed: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took, all attempts together.
    pub elapsed_seconds: f64,
    /// The beginning of its last output; secrets are struck out.
    pub output: Option<String>,
    /// The SHA-256 of that output, whole.
    pub output_sha256: Option<String>,
    /// Why it did not pass.
    pub problem: Option<String>,
}

/// Whether the scratch network was shown to be cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrilledIsolation {
    /// Whether it was shown, each time that it was tried.
    pub proven: bool,
    /// When it was shown, in words: from a probe before the boot, and then from the network of every container.
    pub shown: Vec<String>,
    /// Addresses of the host where a listener answered the host, and nobody inside.
    pub unreachable_addresses: Vec<String>,
    /// Why it was not shown.
    pub problem: Option<String>,
}

/// The programs of the drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrillVersions {
    /// Lifeboat's version.
    pub lifeboat: String,
    /// The engine's version, if there was one.
    pub engine: Option<String>,
    /// The kernel that the scratch containers ran on.
    pub kernel: Option<String>,
}

/// A rehearsed restore.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrillReport {
    /// The rehearsal's id.
    pub rehearsal: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict's reason, one sentence.
    pub reason: String,
    /// The snapshot.
    pub snapshot: String,
    /// What the snapshot is of: its Compose projects; none where it holds no containers of one.
    pub application: Option<String>,
    /// The host that the snapshot is of, where it is known.
    pub host: Option<String>,
    /// When the snapshot was taken.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub taken_at: Timestamp,
    /// How the application was brought to rest for it: `stop`, `pause`, `none`, `idle` (it did not run), or `unknown`.
    pub consistency: String,
    /// When the drill began.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub started_at: Timestamp,
    /// When it had been cleared away.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub finished_at: Timestamp,
    /// Recovery time: from the first byte fetched to the last check.
    pub rto: Objective,
    /// Recovery point: the age of the snapshot when the drill began.
    pub rpo: Objective,
    /// Where the time went.
    pub phases: Vec<Phase>,
    /// Whether containers were started.
    pub booted: bool,
    /// What was restored.
    pub volumes: Vec<DrilledVolume>,
    /// What was started from.
    pub images: Vec<DrilledImage>,
    /// What was started.
    pub services: Vec<DrilledService>,
    /// What was asked of it.
    pub checks: Vec<DrilledCheck>,
    /// Whether it was cut off; none when nothing was to be started.
    pub isolation: Option<DrilledIsolation>,
    /// What this drill did not test.
    pub not_tested: Vec<String>,
    /// What such a drill cannot show.
    pub limits: Vec<String>,
    /// The plan's SHA-256, if there was one.
    pub plan_sha256: Option<String>,
    /// The programs.
    pub versions: DrillVersions,
    /// Scratch objects that could not be removed.
    pub leftovers: Vec<String>,
}

impl Verdict {
    /// The verdict in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::CouldNotVerify => "could not verify",
        }
    }
}

impl Objective {
    /// Compares a measurement with its target.
    pub fn new(measured_seconds: Option<f64>, target_seconds: Option<f64>) -> Self {
        let met = measured_seconds.zip(target_seconds).map(|(measured, target)| measured <= target);
        Self { measured_seconds, target_seconds, met }
    }
}

impl DrillReport {
    /// The report as one self-contained HTML page, for archives, auditors and printers.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// The outcome of the drill in a few words. The restore itself failed only if the data differs.
    fn headline(&self) -> &'static str {
        match self.verdict {
            Verdict::Verified => "Restore verified",
            Verdict::CouldNotVerify => "Could not verify the restore",
            Verdict::Failed => self.what_failed(),
        }
    }

    fn what_failed(&self) -> &'static str {
        let is_same = |volume: &DrilledVolume| volume.differences.as_ref().is_some_and(Vec::is_empty);
        if self.volumes.is_empty() || !self.volumes.iter().all(is_same) {
            "Restore failed"
        } else if self.services.iter().any(|service| service.problem.is_some()) {
            "Did not come up"
        } else if self.checks.iter().any(|check| !check.passed) {
            "Checks failed"
        } else if [&self.rto, &self.rpo].iter().any(|objective| objective.met == Some(false)) {
            "Target missed"
        } else {
            "Restore failed"
        }
    }

    /// The subject as people name it: the application and its host, as far as they are known.
    fn subject(&self) -> Option<String> {
        match (&self.application, &self.host) {
            (Some(application), Some(host)) => Some(format!("{application} on {host}")),
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        }
    }

    /// What was tested, in short sentences.
    pub fn tested(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let compared =
            self.volumes.iter().filter(|v| v.differences.as_ref().is_some_and(Vec::is_empty)).count();
        if compared > 0 {
            let files: u64 = self.volumes.iter().map(|v| v.restored_files).sum();
            let bytes: u64 = self.volumes.iter().map(|v| v.restored_bytes).sum();
            lines.push(format!(
                "{} restored without a difference: {}, {}",
                words::count(compared as u64, "volume"),
                words::count(files, "file"),
                words::bytes(bytes)
            ));
        }
        if let Some(isolation) = self.isolation.as_ref().filter(|isolation| isolation.proven) {
            lines.push(format!(
                "The scratch network was cut off: {} of this host tried from inside, none reached",
                words::counted(isolation.unreachable_addresses.len() as u64, "address", "addresses")
            ));
        }
        let up = self.services.iter().filter(|service| service.problem.is_none()).count();
        if up > 0 {
            lines.push(format!(
                "{} started from the restored data and stayed up",
                words::count(up as u64, "service")
            ));
        }
        for check in self.checks.iter().filter(|check| check.passed) {
            lines.push(format!("{}: {}", check.name, check.expected));
        }
        lines
    }
}

impl Report for DrillReport {
    const SCHEMA: &'static str = "lifeboat.drill/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_text(&mut text);
        text
    }
}

impl DrillReport {
    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let subject = self.subject().map(|subject| format!(" of {subject}")).unwrap_or_default();
        writeln!(out, "drill {}{subject}: {}", self.rehearsal, self.headline().to_uppercase())?;
        writeln!(out, "  {}", self.reason)?;
        writeln!(
            out,
            "  snapshot {} of {} (containers: {})",
            self.snapshot,
            words::moment(self.taken_at),
            words::consistency(&self.consistency)
        )?;
        writeln!(out, "  recovery time   {}", words::objective(&self.rto))?;
        writeln!(out, "  recovery point  {}", words::objective(&self.rpo))?;
        for volume in &self.volumes {
            let state = match &volume.differences {
                None => "not compared".to_owned(),
                Some(differences) if differences.is_empty() => "same as the snapshot".to_owned(),
                Some(differences) => {
                    format!(
                        "{}, first: {}",
                        words::count(differences.len() as u64, "difference"),
                        differences[0].sentence()
                    )
                }
            };
            let size = words::bytes(volume.restored_bytes);
            let files = words::count(volume.restored_files, "file");
            writeln!(out, "  volume {}: {files}, {size}, {state}", volume.name)?;
        }
        for service in &self.services {
            let took = words::seconds(service.elapsed_seconds);
            match &service.problem {
                None => writeln!(out, "  service {}: {} after {took}", service.name, service.state)?,
                Some(problem) => writeln!(out, "  service {}: not up after {took}: {problem}", service.name)?,
            }
            let lines: Vec<&str> = service.log.iter().flat_map(|log| log.lines()).collect();
            for line in &lines[lines.len().saturating_sub(10)..] {
                writeln!(out, "    | {line}")?;
            }
        }
        for check in &self.checks {
            let mark = if check.passed { "passed" } else { "FAILED" };
            writeln!(out, "  check {}: {mark} ({})", check.name, check.expected)?;
            if let Some(problem) = &check.problem {
                writeln!(out, "    {problem}")?;
            }
        }
        match &self.isolation {
            Some(isolation) if isolation.proven => {
                writeln!(out, "  isolation: proven {}", isolation.shown.join(", "))?;
            }
            Some(isolation) => writeln!(
                out,
                "  isolation: NOT PROVEN: {}",
                isolation.problem.as_deref().unwrap_or("it was not tried")
            )?,
            None => {}
        }
        for line in &self.not_tested {
            writeln!(out, "  not tested: {line}")?;
        }
        if self.leftovers.is_empty() {
            writeln!(out, "  everything was cleared away")?;
        }
        for left in &self.leftovers {
            writeln!(out, "  left behind: {left}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
