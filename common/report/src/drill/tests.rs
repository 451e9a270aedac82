use super::*;

pub(super) fn example() -> DrillReport {
    DrillReport {
        rehearsal: "5f0c2a91d3e84b77".into(),
        verdict: Verdict::Verified,
        reason: "The snapshot restored without a difference, 2 services came up and 3 checks passed.".into(),
        snapshot: "web-01/000042".into(),
        application: Some("shop".into()),
        host: Some("web-01".into()),
        taken_at: "2026-11-24T03:30:00Z".parse().unwrap(),
        consistency: "stop".into(),
        started_at: "2026-11-24T04:10:00Z".parse().unwrap(),
        finished_at: "2026-11-24T04:10:31Z".parse().unwrap(),
        rto: Objective::new(Some(18.4), Some(900.0)),
        rpo: Objective::new(Some(2400.0), Some(86_400.0)),
        phases: [("prepare", 0.8, false), ("restore", 7.9, true), ("compare", 3.1, false), ("isolation", 1.6, false), ("boot", 6.2, true), ("checks", 4.3, true), ("clear away", 1.2, false)]
            .map(|(name, seconds, counts)| Phase { name: name.into(), elapsed_seconds: seconds, counts })
            .into(),
        booted: true,
        volumes: vec![DrilledVolume {
            name: "shop_pgdata".into(),
            restored_files: 1283,
            restored_bytes: 61_243_392,
            differences: Some(vec![]),
        }],
        images: vec![DrilledImage {
            reference: "registry.example/postgres:15".into(),
            id: format!("sha256:{}", "ab12".repeat(16)),
            digest: Some(format!("registry.example/postgres@sha256:{}", "cd34".repeat(16))),
            signature: "not checked".into(),
        }],
        services: vec![
            DrilledService { name: "db".into(), image: "registry.example/postgres:15".into(), state: "healthy".into(), elapsed_seconds: 3.4, problem: None, log: None },
            DrilledService { name: "web".into(), image: "registry.example/shop:2.3".into(), state: "running".into(), elapsed_seconds: 1.1, problem: None, log: None },
        ],
        checks: vec![DrilledCheck {
            name: "all orders are there".into(),
            kind: "sql".into(),
            service: "db".into(),
            action: "select count(*) from orders".into(),
            expected: "the value 100000".into(),
            proves_data: true,
            passed: true,
            attempts: 1,
            elapsed_seconds: 0.3,
            output: Some("100000".into()),
            output_sha256: Some("ef56".repeat(16)),
            problem: None,
        }],
        isolation: Some(DrilledIsolation {
            shown: vec!["before the boot".into(), "after the boot".into(), "at the end".into()],
            proven: true,
            unreachable_addresses: vec!["127.0.0.1".into(), "172.17.0.1".into(), "10.0.2.15".into()],
            problem: None,
        }),
        not_tested: vec!["/etc/shop/config.toml of the host, mounted into web, is not in the snapshot".into()],
        limits: vec!["The drill ran on the host of the application, so it does not show that a separate host could recover it.".into()],
        plan_sha256: Some("0a1b".repeat(16)),
        versions: DrillVersions { lifeboat: "0.1.0".into(), engine: Some("20.10.24".into()), kernel: Some("6.1.0".into()) },
        leftovers: vec![],
    }
}

fn difference(path: &str, what: &str, aspects: &[&str]) -> DifferenceLine {
    let aspects = aspects.iter().map(|aspect| (*aspect).to_owned()).collect();
    DifferenceLine { path: path.to_owned(), path_hex: None, what: what.to_owned(), aspects }
}

/// Text shows a sentence with an escaped path that can be given back; JSON has the path itself, and says what was cut.
#[test]
fn differences_have_paths_and_are_told_in_words() {
    let mut report = example();
    let odd = DifferenceLine {
        path_hex: Some("61ff".into()),
        ..difference("a\u{fffd}", "changed", &["mode", "size"])
    };
    report.volumes[0].differences = Some(vec![odd; 130]);
    report.tidy();
    assert!(report.text().contains(r"100 differences, first: a\xff: other mode, size"), "{}", report.text());
    assert!(report.html().contains(r"a\xff: other mode, size"));
    assert!(
        report.limits.iter().any(|limit| limit.contains("30 differences of shop_pgdata")),
        "{:?}",
        report.limits
    );
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let first = &json["volumes"][0]["differences"][0];
    assert_eq!((&first["path_hex"], &first["what"]), (&"61ff".into(), &"changed".into()));
    for (what, said) in
        [("missing", "x: missing"), ("extra", "x: not in the snapshot"), ("unreadable", "x: no room")]
    {
        let aspects: &[&str] = if what == "unreadable" { &["no room"] } else { &[] };
        assert_eq!(difference("x", what, aspects).sentence(), said);
    }
    assert_eq!(difference("", "missing", &[]).sentence(), ".: missing");
}

#[test]
fn the_json_form_names_its_schema_and_its_verdict() {
    let json: serde_json::Value = serde_json::from_str(&example().json().unwrap()).unwrap();
    assert_eq!(json["schema"], "lifeboat.drill/v1");
    assert_eq!(json["verdict"], "verified");
    assert_eq!(json["rto"]["met"], true);
}

#[test]
fn the_text_form_tells_verdict_times_and_what_is_open() {
    let text = example().text();
    for line in [
        "drill 5f0c2a91d3e84b77 of shop on web-01: RESTORE VERIFIED",
        "recovery time   18 s, target 15 min met",
        "volume shop_pgdata: 1,283 files, 58.4 MiB, same as",
        "not tested: /etc/shop",
        "cleared away",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn the_application_and_the_host_stand_in_the_title_and_above_the_verdict() {
    let mut report = example();
    let page = report.html();
    assert!(
        page.contains("<title>Restore drill of shop on web-01: Restore verified (web-01/000042)</title>")
    );
    assert!(page.contains("<p class=\"subject\">shop on web-01</p><h1>"), "{page}");
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!((&json["application"], &json["host"]), (&"shop".into(), &"web-01".into()));
    report.application = None;
    assert!(report.text().starts_with("drill 5f0c2a91d3e84b77 of web-01: "), "{}", report.text());
    report.host = None;
    assert!(report.html().contains("<title>Restore drill: Restore verified ("));
}

#[test]
fn the_headline_says_what_failed() {
    let failed = |spoil: fn(&mut DrillReport)| {
        let mut report = example();
        report.verdict = Verdict::Failed;
        spoil(&mut report);
        let headline = report.headline();
        assert!(
            report.html().contains(&format!("</svg>{headline}</h1>"))
                && report.text().contains(&headline.to_uppercase())
        );
        headline
    };
    let service = |report: &mut DrillReport| report.services[0].problem = Some("it ended".into());
    let difference = |report: &mut DrillReport| {
        report.volumes[0].differences = Some(vec![difference("x", "missing", &[])]);
    };
    assert_eq!(failed(|report| report.checks[0].passed = false), "Checks failed");
    assert_eq!(failed(service), "Did not come up");
    assert_eq!(failed(difference), "Restore failed");
    assert_eq!(failed(|report| report.volumes[0].differences = None), "Restore failed");
    assert_eq!(failed(|report| report.volumes.clear()), "Restore failed");
    assert_eq!(failed(|report| report.rto = Objective::new(Some(1000.0), Some(900.0))), "Target missed");
}

#[test]
fn a_missed_target_is_said() {
    let mut report = example();
    report.rto = Objective::new(Some(1000.0), Some(900.0));
    assert!(report.text().contains("target 15 min MISSED"));
    assert!(report.html().contains("target 15 min missed"));
}

#[test]
fn the_page_escapes_everything_and_loads_nothing() {
    let mut report = example();
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;";
    report.reason = hostile.into();
    report.snapshot = hostile.into();
    report.application = Some(hostile.into());
    report.host = Some(hostile.into());
    report.volumes[0].name = hostile.into();
    report.volumes[0].differences = Some(vec![difference(hostile, "unreadable", &[hostile])]);
    report.services[0].problem = Some(hostile.into());
    report.services[0].log = Some(hostile.into());
    report.services[0].image = hostile.into();
    report.checks[0].output = Some(hostile.into());
    report.checks[0].action = hostile.into();
    report.checks[0].output_sha256 = Some(hostile.into());
    report.images[0].digest = Some(hostile.into());
    report.images[0].id = hostile.into();
    report.phases[0].name = hostile.into();
    report.not_tested = vec![hostile.into()];
    report.leftovers = vec![hostile.into()];
    let page = report.html();
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;"));
    for trace in ["http://", "https://", "url(", "@import", "src="] {
        let outside = page.replace("&lt;img src=", "");
        assert!(!outside.contains(trace), "{trace}");
    }
}

/// Writes the pages to look at: `LIFEBOAT_WRITE_PAGES=DIR cargo test -p lifeboat-report -- --ignored pages`.
#[test]
#[ignore = "writes files for the eye"]
fn pages_for_the_eye() {
    let Some(folder) = std::env::var_os("LIFEBOAT_WRITE_PAGES") else { return };
    let folder = std::path::PathBuf::from(folder);
    let verified = example();
    let mut failed = example();
    failed.verdict = Verdict::Failed;
    failed.reason = "1 of 1 checks failed: all orders are there.".into();
    failed.rto = Objective::new(Some(1000.0), Some(900.0));
    failed.checks[0].passed = false;
    failed.checks[0].attempts = 14;
    failed.checks[0].output = Some("99999".into());
    failed.checks[0].problem = Some("the answer was `99999`".into());
    failed.services[1].problem = Some("it ended with exit code 1".into());
    failed.services[1].state = "not up".into();
    failed.services[1].log = Some("starting\nFATAL: relation \"orders\" does not exist\n".into());
    failed.volumes[0].differences = Some(vec![
        difference("base/16384/2619", "changed", &["content"]),
        difference("PG_VERSION", "missing", &[]),
    ]);
    let mut open = example();
    open.verdict = Verdict::CouldNotVerify;
    open.reason =
        "The snapshot restored without a difference, but nothing was started: it holds no containers.".into();
    open.rto = Objective::new(None, Some(900.0));
    open.booted = false;
    open.services.clear();
    open.checks.clear();
    open.images.clear();
    open.isolation = None;
    for (name, report) in [("verified", verified), ("failed", failed), ("open", open)] {
        std::fs::write(folder.join(format!("{name}.html")), report.html()).unwrap();
    }
}
