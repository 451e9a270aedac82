//! The command line as scripts and newcomers use it: flags in either place, documents, quiet timers, folders that are
//! not writable, completions and manual pages.

use std::fs;
use std::process::{Command, Stdio};

use lifeboat_tests::command::{lifeboat, run};
use lifeboat_tests::repository::TestRepository;

use crate::BINARIES;

pub(crate) const PROGRAMS: [(&str, &str); 4] = [
    ("lifeboat-backup", env!("CARGO_BIN_EXE_tested-backup")),
    ("lifeboat-restore", env!("CARGO_BIN_EXE_tested-restore")),
    ("lifeboat-sign", env!("CARGO_BIN_EXE_tested-sign")),
    ("lifeboat-verify", env!("CARGO_BIN_EXE_tested-verify")),
];

/// A repository with a snapshot.
fn repo() -> TestRepository {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir(repo.path("source")).unwrap();
    fs::write(repo.path("source/file"), b"content").unwrap();
    repo.snapshot(&repo.path("source")).expect_code(0);
    repo
}

#[test]
fn the_repository_may_be_named_before_the_verb() {
    let repo = repo();
    let home = repo.path(".");
    for before in [&["-r", &repo.location][..], &["--json", "--repository", &repo.location, "-v"]] {
        let mut command = lifeboat(BINARIES.backup, &home, [before, &["list"]].concat());
        run(command.env("LIFEBOAT_WRITER_KEY", repo.path("writer.key"))).expect_code(0);
    }
}

#[test]
fn a_call_that_cannot_be_understood_is_a_document_too() {
    let home = tempfile::tempdir().unwrap();
    for (name, program) in PROGRAMS {
        for args in [&["--json", "no-such-verb"][..], &["--no-such-flag", "--json"]] {
            let said = run(&mut lifeboat(program, home.path(), args)).expect_code(2);
            let document = said.json();
            assert_eq!(document["schema"], "lifeboat.error/v1", "{name}: {document}");
            assert_eq!((&document["kind"], &document["exit_code"]), (&"usage".into(), &2.into()), "{name}");
            assert!(document["error"].as_str().unwrap().contains("no-such"), "{name}: {document}");
        }
        assert_eq!(run(&mut lifeboat(program, home.path(), ["no-such-verb"])).stdout, "", "{name}");
    }
}

#[test]
fn verbs_of_other_tools_are_met_with_ours() {
    let home = tempfile::tempdir().unwrap();
    for (program, verb, ours) in [
        (PROGRAMS[0].1, "snapshots", "`lifeboat-backup list`"),
        (PROGRAMS[0].1, "backup", "`lifeboat-backup run`"),
        (PROGRAMS[1].1, "restore", "`lifeboat-restore path` or `lifeboat-restore volume`"),
        (PROGRAMS[2].1, "generate-key-pair", "`lifeboat-sign keygen`"),
        (PROGRAMS[3].1, "verify", "`lifeboat-verify image`"),
    ] {
        let said = run(&mut lifeboat(program, home.path(), [verb])).expect_code(2);
        assert!(said.stderr.contains(&format!("help: `{verb}` is {ours} here")), "{}", said.stderr);
    }
}

#[test]
fn a_quiet_command_tells_what_is_wrong_and_nothing_else() {
    let repo = repo();
    let said = repo.backup(["check", "-q"]).expect_code(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    for pack in repo.objects("packs") {
        fs::remove_file(pack).unwrap();
    }
    let said = repo.backup(["check", "-q"]).expect_code(1);
    assert!(said.stdout.is_empty() && said.stderr.contains("lost"), "{said:?}");
}

/// The state folder is not writable: reading verbs go on, and a run stores its snapshot.
#[test]
fn a_state_folder_that_cannot_be_written_is_told_and_stops_nobody() {
    let repo = repo();
    let identity = repo.path("one.key").display().to_string();
    let elsewhere = ["--state-dir", "/proc/self/no-such-folder"];
    let told = |stderr: &str| {
        assert!(stderr.contains("/proc/self/no-such-folder") && stderr.contains("--state-dir"), "{stderr}");
    };
    let source = repo.path("source").display().to_string();
    told(&repo.backup([&["list"][..], &elsewhere].concat()).expect_code(0).stderr);
    told(&repo.backup([&["run", "--path", &source][..], &elsewhere].concat()).expect_code(0).stderr);
    let target = repo.path("target").display().to_string();
    let path = ["path", "latest", "--identity", &identity, "--to", &target];
    told(&repo.restore([&path[..], &elsewhere].concat()).expect_code(0).stderr);
    assert_eq!(fs::read(repo.path("target/file")).unwrap(), b"content");
    // The variable, and a writable folder, which then records what was seen.
    let state = repo.path("another");
    let mut command = repo.backup_command(["list"]);
    run(command.env("LIFEBOAT_STATE_DIR", &state)).expect_code(0);
    assert_eq!(fs::read_dir(state.join("pins")).unwrap().count(), 2);
}

#[test]
fn bash_completes_the_options_of_every_verb() {
    let home = tempfile::tempdir().unwrap();
    for (name, program) in PROGRAMS {
        let script = run(&mut lifeboat(program, home.path(), ["completions", "bash"])).expect_code(0).stdout;
        fs::write(home.path().join("script"), &script).unwrap();
        let (verb, option) = match name {
            "lifeboat-backup" => ("run", "--volume"),
            "lifeboat-restore" => ("rehearse", "--plan"),
            "lifeboat-sign" => ("attest", "--predicate"),
            _ => ("image", "--certificate-identity"),
        };
        let function = name.replace('-', "__");
        let ask = format!(
            "source ./script; COMP_WORDS=({name} {verb} --); COMP_CWORD=2; _{function} {name} -- {verb}; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let said = run(Command::new("bash").args(["-c", &ask]).current_dir(&home)).expect_code(0);
        assert!(said.stdout.lines().any(|line| line == option), "{name}: {}{}", said.stdout, said.stderr);
    }
}

#[test]
fn manual_pages_show_every_verb() {
    let home = tempfile::tempdir().unwrap();
    for (name, program) in PROGRAMS {
        let help = run(&mut lifeboat(program, home.path(), ["--help"])).expect_code(0).stdout;
        let page = run(&mut lifeboat(program, home.path(), ["man"])).expect_code(0).stdout;
        let verbs =
            help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let verbs: Vec<&str> =
            verbs.filter(|line| line.starts_with("  ") && !line.starts_with("   ")).collect();
        assert!(verbs.len() > 5, "{name}: {help}");
        for verb in verbs.iter().filter_map(|line| line.split_whitespace().next()) {
            let title = format!(".TH {} ", name.to_string() + "-" + verb).replace('-', "\\-");
            let title = title.trim_end();
            assert!(page.contains(title) || page.contains(&title.replace("\\-", "-")), "{name} {verb}");
        }
    }
}

/// Every program reports that its help could not be written; a reader that reads only the first lines gets only them.
#[test]
fn help_that_cannot_be_written_is_a_failure() {
    let home = tempfile::tempdir().unwrap();
    for (name, program) in PROGRAMS {
        for args in [&["--help"][..], &["--version"], &["completions", "bash"], &["man"], &["--json", "nope"]]
        {
            let written = |to: Stdio| lifeboat(program, home.path(), args).stdout(to).output().unwrap();
            let full = fs::File::options().write(true).open("/dev/full").unwrap();
            let said = written(full.into());
            let told = String::from_utf8_lossy(&said.stderr);
            let is_misuse = args.contains(&"nope");
            assert_eq!(said.status.code(), Some(if is_misuse { 2 } else { 1 }), "{name} {args:?}: {told}");
            assert!(told.contains("error: standard output cannot be written"), "{name} {args:?}: {told}");
            assert!(!told.contains("panicked"), "{name} {args:?}: {told}");
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let said = written(writer.into());
            assert_eq!(said.status.code(), Some(if is_misuse { 2 } else { 0 }), "{name} {args:?}: {said:?}");
            assert!(is_misuse || said.stderr.is_empty(), "{name} {args:?}: {said:?}");
        }
    }
}

/// Following the tip works.
#[test]
fn a_tip_for_a_value_that_begins_with_a_dash_works() {
    let repo = repo();
    for (args, tip) in [
        (&["list", "--tag", "-x"][..], "to pass `-x` to `--tag`, write `--tag=-x`"),
        (&["run", "--tag", "--foo", "--path", "."], "to pass `--foo` to `--tag`, write `--tag=--foo`"),
        (&["list", "-r", "-x"], "to pass `-x` to `-r`, write `-r-x`"),
        (&["show", "-x"], "to pass `-x` as a value, write it after all flags, and `--` before it: `-- -x`"),
        // Here `--` introduces the command to run, and nothing else takes a value.
        (&["run", "-x"], ""),
        (&["stats", "-x"], ""),
        (&["list", "--hots", "x"], ""),
    ] {
        let said = repo.backup(args).expect_code(2);
        let tips: Vec<_> = said.stderr.lines().filter(|line| line.contains("to pass")).collect();
        assert_eq!(tips.first().map_or("", |line| line.trim().trim_start_matches("tip: ")), tip, "{args:?}");
        let document = repo.backup([&["--json"], args].concat()).expect_code(2).json();
        assert!(tip.is_empty() || document["advice"] == tip, "{document}");
    }
    let mut command =
        repo.backup_command(["run", "--json", "--stdin-from-command=-x", "--tag=--foo", "--", "ls", "/"]);
    assert_eq!(run(&mut command).expect_code(0).json()["streams"][0]["name"], "-x");
    let said = repo.backup(["list", "--json", "--tag=--foo"]).expect_code(0).json();
    assert_eq!(said["snapshots"].as_array().unwrap().len(), 1);
    let said = repo.restore(["find", "--json", "--", "-x"]).expect_code(0).json();
    assert_eq!(said["found"], 1);
    repo.restore(["dump", "latest", "--", "-x"]).expect_code(0);
}

/// Warnings look alike wherever they come from, and `--quiet` prints them only if the command does not end well.
#[test]
fn a_warning_looks_like_a_warning() {
    let repo = repo();
    fs::write(std::path::Path::new(&repo.location).join("lifeboat.json"), "x").unwrap();
    let said = repo.backup(["list"]).expect_code(0);
    let lines: Vec<_> = said.stderr.lines().collect();
    assert!(
        matches!(lines[..], [line] if line.starts_with("warning: ") && line.contains("`lifeboat.json`")),
        "{said:?}"
    );
    assert_eq!(repo.backup(["list", "-q"]).expect_code(0).stderr, "");
    let said = repo.backup(["list", "--progress", "json"]).expect_code(0).json_lines();
    assert!(said.iter().any(|line| line["level"] == "warning"), "{said:?}");
    for object in repo.objects("locations") {
        fs::write(object, "x").unwrap();
    }
    let to = repo.path("to").display().to_string();
    let said = repo.restore(["path", "latest", "--to", &to, "-q"]).expect_code(1);
    assert!(said.stderr.contains("warning: the object `locations/"), "{said:?}");
    assert!(!said.stderr.contains(" WARN "), "{said:?}");
    // Other messages are notes, and those for developers name their origin.
    let said = repo.backup(["list", "-vv"]).expect_code(0);
    let is_known = |line: &&str| {
        ["warning: ", "note: ", "debug: ", "error: "].iter().any(|beginning| line.starts_with(beginning))
    };
    assert!(said.stderr.lines().all(|line| is_known(&line)), "{said:?}");
}
