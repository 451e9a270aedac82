//! Derives the verdict from what a drill observed.

use lifeboat_report::drill::{DrillReport, Verdict};

/// Why a drill stopped early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Something that was tested is wrong.
    Wrong(String),
    /// The drill lacked something that it needs, which says nothing about the snapshot.
    Open(String),
    /// This host's limits were reached. Failures in the meantime, for lack of space or otherwise, say nothing about the
    /// snapshot.
    Limit(String),
}

/// Error texts of programs that hit a restriction of the scratch container which the application does not have at home.
/// Wrong data does not cause them, because its owners and modes were compared.
const WALLS: &[(&str, &str)] = &[
    ("no new privileges", "the wall against set-user-id programs (`new_privileges` in the plan lifts it)"),
    (
        "effective uid is not 0",
        "the wall against set-user-id programs (`new_privileges` in the plan lifts it)",
    ),
    ("operation not permitted", "the wall of rights and system calls"),
    ("function not implemented", "the wall of system calls"),
    ("bad system call", "the wall of system calls, behind which programs of 32 bits do not run"),
    ("address family not supported", "the wall of system calls"),
    ("network is unreachable", "the wall around the network"),
    ("temporary failure in name resolution", "the wall around the network"),
    ("could not resolve host", "the wall around the network"),
    ("killed for want of memory", "the limit of memory"),
    ("cannot allocate memory", "the limit of memory"),
    ("resource temporarily unavailable", "the limit of processes"),
    ("can't fork", "the limit of processes"),
    ("permission denied (are you root?)", "the wall of rights and system calls"),
    ("no space left on device", "the limit of space"),
    ("disk is full", "the limit of space"),
    ("disk full", "the limit of space"),
    ("enospc", "the limit of space"),
    ("not enough space", "the limit of space"),
    ("disk quota exceeded", "the limit of space"),
];

/// The restriction that one of these texts is about.
fn wall_in(texts: &[&str]) -> Option<&'static str> {
    let texts: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    WALLS.iter().find(|(words, _)| texts.iter().any(|text| text.contains(words))).map(|(_, wall)| *wall)
}

/// The host folders that a service had and now runs without; its behaviour with them is unknown.
fn lacks<'r>(report: &'r DrillReport, service: &str) -> Option<&'r str> {
    let beginning = format!("{service} ran without the host's ");
    report.not_tested.iter().find_map(|line| line.strip_prefix(&beginning))
}

/// The restriction or limit that seems to explain all failed checks.
fn failures_of_the_walls(report: &DrillReport, reached: &[&str]) -> Option<String> {
    let mut failed = report.checks.iter().filter(|check| !check.passed).peekable();
    failed.peek()?;
    if !reached.is_empty() {
        return Some(format!("the limit of {}", reached.join(" and ")));
    }
    let walls: Option<Vec<&str>> = failed
        .map(|check| wall_in(&[check.problem.as_deref()?, check.output.as_deref().unwrap_or_default()]))
        .collect();
    walls?.first().map(|&wall| wall.to_owned())
}

/// Decides. The first rule that applies wins:
/// 1. a limit of this host that was reached leaves it undecided,
/// 2. a problem that was found fails the drill, unless a restriction of the sandbox seems to be the cause,
/// 3. whatever stopped it early leaves it undecided,
/// 4. so does an application that was not started, data that was not compared, and a plan without checks of the data,
/// 5. a missed target fails it,
/// 6. otherwise it is verified.
pub(super) fn decide(report: &DrillReport, stopped: Option<&Stopped>, reached: &[&str]) -> (Verdict, String) {
    let failed = |reason: String| (Verdict::Failed, reason);
    let open = |reason: String| (Verdict::CouldNotVerify, reason);
    if let Some(Stopped::Limit(reason)) = stopped {
        return open(reason.clone());
    }
    if let Some(volume) =
        report.volumes.iter().find(|v| v.differences.as_ref().is_some_and(|d| !d.is_empty()))
    {
        return failed(format!("The restored data of {} differs from the snapshot.", volume.name));
    }
    if let Some(service) = report.services.iter().find(|service| service.problem.is_some()) {
        let problem = service.problem.as_deref().unwrap_or_default();
        if !reached.is_empty() {
            return open(format!(
                "The service {} was not up, and the scratch containers reached their limit of {}: {problem}.",
                service.name,
                reached.join(" and ")
            ));
        }
        if let Some(wall) = wall_in(&[problem, service.log.as_deref().unwrap_or_default()]) {
            return open(format!(
                "The service {} did not come up, and it seems to have run against {wall}: {problem}.",
                service.name
            ));
        }
        if let Some(folder) = lacks(report, &service.name) {
            return open(format!(
                "The service {} did not come up, and it ran without the host's {folder}: {problem}.",
                service.name
            ));
        }
        return failed(format!(
            "The service {} did not come up from the restored data: {problem}.",
            service.name
        ));
    }
    let failures: Vec<_> = report.checks.iter().filter(|check| !check.passed).collect();
    if !failures.is_empty() {
        let counted = format!("{} of {} checks failed", failures.len(), report.checks.len());
        let names: Vec<&str> = failures.iter().map(|check| check.name.as_str()).collect();
        let names = names.join(", ");
        if let Some(wall) = failures_of_the_walls(report, reached) {
            return open(format!("{counted}, and they seem to have run against {wall}: {names}."));
        }
        let folders: Option<Vec<&str>> = failures.iter().map(|check| lacks(report, &check.service)).collect();
        if let Some(folder) = folders.as_ref().and_then(|folders| folders.first()) {
            return open(format!("{counted}, and the services ran without the host's {folder}: {names}."));
        }
        return failed(format!("{counted}: {names}."));
    }
    match stopped {
        Some(Stopped::Wrong(reason)) => return failed(reason.clone()),
        Some(Stopped::Open(reason) | Stopped::Limit(reason)) => return open(reason.clone()),
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

#[cfg(test)]
mod tests;
