use jiff::Timestamp;
use lifeboat_report::drill::{
    DrillVersions, DrilledCheck, DrilledService, DrilledVolume, Objective, Verdict::*,
};
use lifeboat_report::restore::DifferenceLine;

use super::*;

#[test]
fn a_wall_is_known_by_what_programs_say() {
    for (text, wall) in [
        ("sudo: The \"no new privileges\" flag is set, which prevents sudo", Some("set-user-id")),
        ("mount: /x: Operation not permitted", Some("rights and system calls")),
        ("curl: (6) Could not resolve host: mail.example", Some("network")),
        ("it ended with exit code 137, killed for want of memory", Some("memory")),
        ("ping: permission denied (are you root?)", Some("rights")),
        ("could not extend file: disk full", Some("space")),
        ("FATAL: database files are incompatible with server", None),
        ("could not open file \"base/1\": No such file or directory", None),
    ] {
        assert_eq!(wall_in(&["", text]).is_some(), wall.is_some(), "{text}");
        assert!(wall_in(&[text]).unwrap_or_default().contains(wall.unwrap_or_default()), "{text}");
    }
}

fn missing() -> DifferenceLine {
    DifferenceLine { path: "x".to_owned(), path_hex: None, what: "missing".to_owned(), aspects: Vec::new() }
}

/// A drill in which everything went well: one volume, one service and one check that proves something about the data.
fn well() -> DrillReport {
    DrillReport {
        rehearsal: "0123456789abcdef".to_owned(),
        verdict: CouldNotVerify,
        reason: String::new(),
        snapshot: "5".repeat(64),
        application: None,
        host: None,
        taken_at: Timestamp::UNIX_EPOCH,
        consistency: "stop".to_owned(),
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: Timestamp::UNIX_EPOCH,
        rto: Objective::new(Some(1.0), Some(2.0)),
        rpo: Objective::new(Some(1.0), None),
        phases: Vec::new(),
        booted: true,
        volumes: vec![DrilledVolume {
            name: "data".to_owned(),
            restored_files: 1,
            restored_bytes: 1,
            differences: Some(Vec::new()),
        }],
        images: Vec::new(),
        services: vec![service("db", None, None)],
        checks: vec![check("db", None)],
        isolation: None,
        not_tested: Vec::new(),
        limits: Vec::new(),
        plan_sha256: None,
        versions: DrillVersions { lifeboat: String::new(), engine: None, kernel: None },
        leftovers: Vec::new(),
    }
}

fn service(name: &str, problem: Option<&str>, log: Option<&str>) -> DrilledService {
    DrilledService {
        name: name.to_owned(),
        image: "sha256:aa".to_owned(),
        state: "running".to_owned(),
        elapsed_seconds: 0.0,
        problem: problem.map(str::to_owned),
        log: log.map(str::to_owned),
    }
}

fn check(service: &str, problem: Option<&str>) -> DrilledCheck {
    DrilledCheck {
        name: format!("of {service}"),
        kind: "exec".to_owned(),
        service: service.to_owned(),
        action: String::new(),
        expected: String::new(),
        proves_data: true,
        passed: problem.is_none(),
        attempts: 1,
        elapsed_seconds: 0.0,
        output: None,
        output_sha256: None,
        problem: problem.map(str::to_owned),
    }
}

/// A drill that differs from one in which everything went well.
struct Case {
    name: &'static str,
    /// How it differs.
    change: fn(&mut DrillReport),
    /// What stopped it early.
    stopped: Option<fn(String) -> Stopped>,
    /// The limits that were reached.
    reached: &'static [&'static str],
    verdict: Verdict,
    /// A word that the reason must contain.
    word: &'static str,
}

const fn case(
    name: &'static str,
    change: fn(&mut DrillReport),
    verdict: Verdict,
    word: &'static str,
) -> Case {
    Case { name, change, stopped: None, reached: &[], verdict, word }
}

fn fails(report: &mut DrillReport) {
    report.services[0] = service("db", Some("it ended"), None);
}

fn is_wrong(report: &mut DrillReport) {
    report.checks[0] = check("db", Some("no rows"));
}

fn lacks_a_folder(report: &mut DrillReport, service: &str) {
    report.not_tested = vec![format!("{service} ran without the host's /srv/photos, mounted at /photos")];
}

const CASES: &[Case] = &[
    case("all is well", |_| {}, Verified, "1 service came up"),
    Case {
        stopped: Some(Stopped::Limit),
        ..case("a limit ended it", |r| r.checks[0].passed = false, CouldNotVerify, "STOPPED")
    },
    Case {
        stopped: Some(Stopped::Open),
        reached: &["memory"],
        ..case("data differs", |r| r.volumes[0].differences = Some(vec![missing()]), Failed, "differs")
    },
    case("a service fails", fails, Failed, "db"),
    Case { reached: &["memory"], ..case("a service fails at a limit", fails, CouldNotVerify, "memory") },
    case(
        "a service fails at a wall that its log names",
        |r| r.services[0] = service("db", Some("it ended"), Some("Operation not permitted")),
        CouldNotVerify,
        "rights",
    ),
    case(
        "a service fails without a folder of the host",
        |r| {
            fails(r);
            lacks_a_folder(r, "db");
        },
        CouldNotVerify,
        "/srv/photos",
    ),
    case(
        "a service fails, and another one lacks a folder of the host",
        |r| {
            fails(r);
            lacks_a_folder(r, "web");
        },
        Failed,
        "db",
    ),
    case("a check fails", is_wrong, Failed, "1 of 1"),
    Case { reached: &["memory"], ..case("a check fails at a limit", is_wrong, CouldNotVerify, "memory") },
    case(
        "a check fails at a wall",
        |r| r.checks[0] = check("db", Some("network is unreachable")),
        CouldNotVerify,
        "network",
    ),
    case(
        "one check fails at a wall and one does not",
        |r| r.checks = vec![check("db", Some("network is unreachable")), check("db", Some("no rows"))],
        Failed,
        "2 of 2",
    ),
    case(
        "a check fails without a folder of the host",
        |r| {
            is_wrong(r);
            lacks_a_folder(r, "db");
        },
        CouldNotVerify,
        "/srv/photos",
    ),
    case(
        "of two checks that fail, one service lacks no folder",
        |r| {
            r.checks = vec![check("db", Some("no rows")), check("web", Some("no rows"))];
            lacks_a_folder(r, "db");
        },
        Failed,
        "2 of 2",
    ),
    Case { stopped: Some(Stopped::Wrong), ..case("what is wrong ended it", |_| {}, Failed, "STOPPED") },
    Case { stopped: Some(Stopped::Open), ..case("a lack ended it", |_| {}, CouldNotVerify, "STOPPED") },
    case("it holds no data", |r| r.volumes.clear(), CouldNotVerify, "no data"),
    case("nothing was compared", |r| r.volumes[0].differences = None, CouldNotVerify, "compared"),
    case("nothing was started", |r| r.booted = false, CouldNotVerify, "nothing was started"),
    case("nothing was asked", |r| r.checks[0].proves_data = false, CouldNotVerify, "no check"),
    case("a target was missed", |r| r.rto = Objective::new(Some(3.0), Some(2.0)), Failed, "recovery time"),
];

#[test]
fn the_first_rule_that_applies_decides() {
    for Case { name, change, stopped, reached, verdict, word } in CASES {
        let mut report = well();
        change(&mut report);
        let stopped = stopped.map(|stopped| stopped("STOPPED".to_owned()));
        let (found, reason) = decide(&report, stopped.as_ref(), reached);
        assert_eq!(found, *verdict, "{name}: {reason}");
        assert!(reason.contains(word), "{name}: {reason}");
    }
}
