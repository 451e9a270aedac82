//! Progress for programs: JSON lines on standard error, and nothing else.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use lifeboat_tests::command::{Output, lifeboat, run};
use lifeboat_tests::repository::TestRepository;
use serde_json::{Value, json};

use crate::BINARIES;

fn of<'a>(lines: &'a [Value], schema: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["schema"] == schema).collect()
}

fn repo() -> TestRepository {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir(repo.path("source")).unwrap();
    fs::write(repo.path("source/file"), vec![7; 1 << 20]).unwrap();
    repo
}

#[test]
fn every_phase_is_told_from_its_beginning_to_its_end() {
    let repo = repo();
    let source = repo.path("source").display().to_string();
    for form in [&["--json", "--progress", "json"][..], &["--progress=json"], &["-v", "--progress", "json"]] {
        let said = repo.backup([&["run", "--path", &source][..], form].concat()).expect_code(0);
        let lines = said.json_lines();
        let progress = of(&lines, "lifeboat.progress/v1");
        let reading: Vec<_> = progress.iter().filter(|line| line["phase"] == "reading").collect();
        let (first, last) = (reading.first().unwrap(), reading.last().unwrap());
        assert_eq!(
            (&first["done"], &first["ended"], &first["unit"]),
            (&json!(0), &json!(false), &json!("bytes"))
        );
        assert_eq!(last["ended"], true, "{last}");
        // A phase starts only after the previous one has ended.
        let ends: Vec<bool> = progress.iter().map(|line| line["ended"] == true).collect();
        assert_eq!(ends.iter().filter(|ended| **ended).count() * 2, ends.len(), "{progress:#?}");
        assert_eq!(ends.last(), Some(&true), "{progress:#?}");
    }
}

#[test]
fn a_phase_is_told_once_a_second() {
    let repo = repo();
    let mut command = repo.backup_command(["run", "--stdin", "slow", "--progress", "json"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for _ in 0..26 {
        input.write_all(&vec![1; 100_000]).unwrap();
        sleep(Duration::from_millis(100));
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let said = Output { code: output.status.code(), stdout: String::new(), stderr }.expect_code(0);
    let lines = said.json_lines();
    let reading: Vec<_> = lines.iter().filter(|line| line["phase"] == "reading").collect();
    let between = &reading[1..reading.len() - 1];
    let times: Vec<f64> = between.iter().map(|line| line["elapsed_seconds"].as_f64().unwrap()).collect();
    assert!(!times.is_empty(), "{lines:#?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 1.0), "{times:?}");
    assert!(between.iter().all(|line| line["rate_per_second"].as_f64().is_some_and(|rate| rate > 0.0)));
    assert_eq!(reading.last().unwrap()["done"], 2_600_000);
}

#[test]
fn errors_and_warnings_are_lines_too() {
    let repo = repo();
    // The command fails.
    let said = repo.restore(["ls", "0123abcd", "--progress", "json"]).expect_code(2);
    let lines = said.json_lines();
    let [failure] = of(&lines, "lifeboat.error/v1")[..] else { panic!("{lines:#?}") };
    assert_eq!((&failure["kind"], &failure["exit_code"]), (&json!("usage"), &json!(2)));
    // A usage error.
    for args in [["--progress", "json", "no-such-verb"], ["--progress=json", "list", "--no-such-flag"]] {
        let lines = repo.backup(args).expect_code(2).json_lines();
        assert_eq!(of(&lines, "lifeboat.error/v1").len(), 1, "{lines:#?}");
        assert_eq!(lines.len(), 1, "{lines:#?}");
    }
    // A warning.
    let said = repo.backup(["list", "--progress", "json", "--state-dir", "/proc/self/no-such-folder"]);
    let lines = said.expect_code(0).json_lines();
    let [warning] = of(&lines, "lifeboat.message/v1")[..] else { panic!("{lines:#?}") };
    assert_eq!(warning["level"], "warning");
    assert!(warning["message"].as_str().unwrap().contains("--state-dir"), "{warning}");
}

#[test]
fn what_a_quiet_command_tells_of_is_a_line_too() {
    let repo = repo();
    repo.snapshot(&repo.path("source")).expect_code(0);
    for pack in repo.objects("packs") {
        fs::remove_file(pack).unwrap();
    }
    let said = repo.backup(["check", "-q", "--progress", "json"]).expect_code(1);
    assert_eq!(said.stdout, "");
    let lines = said.json_lines();
    let [report] = of(&lines, "lifeboat.check/v1")[..] else { panic!("{lines:#?}") };
    assert_eq!(report["damage"][0]["kind"], "missing");
}

#[test]
fn no_progress_is_told_unless_it_is_asked_for() {
    let repo = repo();
    let source = repo.path("source").display().to_string();
    for form in [&[][..], &["--progress", "none"], &["--progress", "auto"], &["--no-progress"]] {
        let said = repo.backup([&["run", "--path", &source][..], form].concat()).expect_code(0);
        assert_eq!(said.stderr, "", "{form:?}");
    }
    let home = repo.path(".");
    let both = ["list", "--no-progress", "--progress", "json"];
    run(&mut lifeboat(BINARIES.backup, &home, both)).expect_code(2);
}
