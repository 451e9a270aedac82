use jiff::Timestamp;
use lifeboat_report::drill::{
    DrillVersions, DrilledCheck, DrilledService, DrilledVolume, Objective, Verdict::*,
};

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

/// A drill in which everything went well: one volume, one service and one check that proves something about the data.
fn well() -> DrillReport {
    DrillReport {
        rehearsal: "0123456789abcdef".to_owned(),
        verdict: CouldNotVerify,
        reason: String::new(),
        snapshot: "5".repeat(64),
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
        seconds: 0.0,
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
        seconds: 0.0,
        output: None,
        output_sha256: None,
        problem: problem.map(str::to_owned),
    }
}

#[test]
fn the_first_rule_that_applies_decides() {
    type Change = fn(&mut DrillReport);
    let wrong = Stopped::Wrong("wrong".to_owned());
    let lacking = Stopped::Open("lacking".to_owned());
    let limit = Stopped::Limit("limit".to_owned());
    // What was, how it differs from a drill that went well, what stopped it, limits that were reached, the verdict and a word
    // of its reason.
    let cases: Vec<(&str, Change, Option<&Stopped>, &[&str], Verdict, &str)> = vec![
        ("all is well", |_| {}, None, &[], Verified, "1 service came up"),
        ("a limit was reached", |r| r.checks[0].passed = false, Some(&limit), &[], CouldNotVerify, "limit"),
        (
            "data differs",
            |r| r.volumes[0].differences = Some(vec!["x".to_owned()]),
            Some(&lacking),
            &["memory"],
            Failed,
            "differs",
        ),
        (
            "a service fails",
            |r| r.services[0] = service("db", Some("it ended"), None),
            None,
            &[],
            Failed,
            "db",
        ),
        (
            "a service fails at a limit",
            |r| r.services[0] = service("db", Some("it ended"), None),
            None,
            &["memory"],
            CouldNotVerify,
            "memory",
        ),
        (
            "a service fails at a wall that its log names",
            |r| r.services[0] = service("db", Some("it ended"), Some("Operation not permitted")),
            None,
            &[],
            CouldNotVerify,
            "rights",
        ),
        (
            "a service fails without a folder of the host",
            |r| {
                r.services[0] = service("db", Some("it ended"), None);
                r.not_tested = vec!["db ran without the host's /srv/photos, mounted at /photos".to_owned()];
            },
            None,
            &[],
            CouldNotVerify,
            "/srv/photos",
        ),
        (
            "another service lacks a folder of the host",
            |r| {
                r.services[0] = service("db", Some("it ended"), None);
                r.not_tested = vec!["web ran without the host's /srv/photos, mounted at /photos".to_owned()];
            },
            None,
            &[],
            Failed,
            "db",
        ),
        ("a check fails", |r| r.checks[0] = check("db", Some("no rows")), None, &[], Failed, "1 of 1"),
        (
            "a check fails at a wall",
            |r| r.checks[0] = check("db", Some("network is unreachable")),
            None,
            &[],
            CouldNotVerify,
            "network",
        ),
        (
            "one check fails at a wall and one does not",
            |r| {
                r.checks = vec![check("db", Some("network is unreachable")), check("db", Some("no rows"))];
            },
            None,
            &[],
            Failed,
            "2 of 2",
        ),
        (
            "a check fails without a folder of the host",
            |r| {
                r.checks[0] = check("db", Some("no rows"));
                r.not_tested = vec!["db ran without the host's /srv/photos, mounted at /photos".to_owned()];
            },
            None,
            &[],
            CouldNotVerify,
            "/srv/photos",
        ),
        (
            "of two checks that fail, one service lacks no folder",
            |r| {
                r.checks = vec![check("db", Some("no rows")), check("web", Some("no rows"))];
                r.not_tested = vec!["db ran without the host's /srv/photos, mounted at /photos".to_owned()];
            },
            None,
            &[],
            Failed,
            "2 of 2",
        ),
        ("it was stopped by what is wrong", |_| {}, Some(&wrong), &[], Failed, "wrong"),
        ("it was stopped by what it lacks", |_| {}, Some(&lacking), &[], CouldNotVerify, "lacking"),
        ("there is no data", |r| r.volumes.clear(), None, &[], CouldNotVerify, "no data"),
        ("nothing was compared", |r| r.volumes[0].differences = None, None, &[], CouldNotVerify, "compared"),
        ("nothing was started", |r| r.booted = false, None, &[], CouldNotVerify, "nothing was started"),
        ("nothing was asked", |r| r.checks[0].proves_data = false, None, &[], CouldNotVerify, "no check"),
        (
            "a target was missed",
            |r| r.rto = Objective::new(Some(3.0), Some(2.0)),
            None,
            &[],
            Failed,
            "recovery time",
        ),
    ];
    for (name, change, stopped, reached, verdict, word) in cases {
        let mut report = well();
        change(&mut report);
        let (found, reason) = decide(&report, stopped, reached);
        assert_eq!(found, verdict, "{name}: {reason}");
        assert!(reason.contains(word), "{name}: {reason}");
    }
}
