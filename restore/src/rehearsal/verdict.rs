//! From what a drill has seen to its verdict.

use lifeboat_report::drill::{DrillReport, Verdict};

/// Why a drill stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Something that was tested is wrong.
    Wrong(String),
    /// Something was missing that the drill needs; it says nothing about the snapshot.
    Open(String),
}

/// Decides. The first rule that applies wins:
/// 1. what was found wrong fails the drill,
/// 2. what stopped it early leaves it open,
/// 3. so does an application that was not started, data that was not compared, and a plan that asks nothing about the data,
/// 4. a target that was missed fails it,
/// 5. otherwise it is verified.
pub(super) fn decide(report: &DrillReport, stopped: Option<&Stopped>) -> (Verdict, String) {
    let failed = |reason: String| (Verdict::Failed, reason);
    let open = |reason: String| (Verdict::CouldNotVerify, reason);
    if let Some(volume) =
        report.volumes.iter().find(|v| v.differences.as_ref().is_some_and(|d| !d.is_empty()))
    {
        return failed(format!("The restored data of {} differs from the snapshot.", volume.name));
    }
    if let Some(service) = report.services.iter().find(|service| service.problem.is_some()) {
        let problem = service.problem.as_deref().unwrap_or_default();
        return failed(format!(
            "The service {} did not come up from the restored data: {problem}.",
            service.name
        ));
    }
    let failures: Vec<&str> = report.checks.iter().filter(|c| !c.passed).map(|c| c.name.as_str()).collect();
    if !failures.is_empty() {
        return failed(format!(
            "{} of {} checks failed: {}.",
            failures.len(),
            report.checks.len(),
            failures.join(", ")
        ));
    }
    match stopped {
        Some(Stopped::Wrong(reason)) => return failed(reason.clone()),
        Some(Stopped::Open(reason)) => return open(reason.clone()),
        None => {}
    }
    if report.volumes.is_empty() {
        return open("The snapshot holds no data that could be restored.".to_owned());
    }
    if report.volumes.iter().any(|volume| volume.differences.is_none()) {
        return open("Not all restored data was compared with the snapshot.".to_owned());
    }
    if !report.booted {
        return open("The data restored without a difference, but nothing was started, so nothing shows that it works.".to_owned());
    }
    if !report.checks.iter().any(|check| check.proves_data) {
        return open("The data restored without a difference and the services came up, but no check asked them about the data.".to_owned());
    }
    for (name, objective) in [("recovery time", &report.rto), ("recovery point", &report.rpo)] {
        if objective.met == Some(false) {
            return failed(format!("Everything came back, but the target for the {name} was missed."));
        }
    }
    let services = report.services.len();
    let checks = report.checks.len();
    (
        Verdict::Verified,
        format!(
            "The snapshot restored without a difference, {services} {} came up from it, and {checks} {} passed.",
            if services == 1 { "service" } else { "services" },
            if checks == 1 { "check" } else { "checks" },
        ),
    )
}
