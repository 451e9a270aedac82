//! Help: an example for every verb, and lines that fit the terminal.

use std::process::{Command, Stdio};

use lifeboat_tests::command::{lifeboat, run};

use crate::command_line::PROGRAMS;

/// Every verb of a program with its help, including nested verbs, laid out for `columns`.
fn pages(program: &str, columns: &str) -> Vec<(String, String)> {
    let home = tempfile::tempdir().unwrap();
    let mut pages = Vec::new();
    let mut waiting = vec![Vec::new()];
    while let Some(verbs) = waiting.pop() {
        let args = verbs.iter().map(String::as_str).chain(["--help"]);
        // None of the three is a terminal, no matter how the tests are run.
        let mut command = lifeboat(program, home.path(), args);
        let help = run(command.env("COLUMNS", columns).stdin(Stdio::null())).expect_code(0).stdout;
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in listed.take_while(|line| !line.is_empty()) {
            let name = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '));
            let name = name.and_then(|rest| rest.split(' ').next()).filter(|name| *name != "help");
            waiting.extend(name.map(|name| [&verbs[..], &[name.to_owned()]].concat()));
        }
        pages.push((verbs.join(" "), help));
    }
    pages
}

#[test]
fn every_verb_has_an_example() {
    let mut seen = Vec::new();
    for (name, program) in PROGRAMS {
        for (verb, help) in pages(program, "100") {
            let begins = if verb.is_empty() { "\nStart here:" } else { "\nExample" };
            assert!(help.contains(begins), "{name} {verb} has no example:\n{help}");
            assert!(!verb.is_empty() || help.contains("Exit codes: 0 "), "{name}:\n{help}");
            seen.push(format!("{name} {verb}"));
        }
    }
    for verb in
        ["lifeboat-backup key add recovery", "lifeboat-verify trusted-root check", "lifeboat-restore find"]
    {
        assert!(seen.iter().any(|seen| seen == verb), "{verb} is not among {seen:?}");
    }
}

#[test]
fn help_fits_the_terminal_and_keeps_the_lines_of_examples() {
    for (columns, width) in [("60", 60), ("80", 80), ("200", 100)] {
        let mut widest = 0;
        for (name, program) in PROGRAMS {
            for (verb, help) in pages(program, columns) {
                let wide = |line: &&str| line.chars().count() > width;
                for line in help.lines().filter(wide) {
                    let is_example = example_lines(&help).contains(&line);
                    let is_one_word = !line.trim().contains(' ');
                    assert!(is_example || is_one_word, "{name} {verb} at {columns}: {line}");
                }
                let others = help.lines().filter(|line| !wide(line)).map(|line| line.chars().count());
                widest = others.chain([widest]).max().unwrap();
            }
        }
        assert!(widest > width - 5, "no line at {columns} is longer than {widest}");
    }
    // An example has the same lines at any width.
    for (name, program) in PROGRAMS {
        let lines = |columns| -> Vec<Vec<String>> {
            let pages = pages(program, columns);
            let lines = |help: &str| example_lines(help).into_iter().map(str::to_owned).collect();
            pages.iter().map(|(_, help)| lines(help)).collect()
        };
        assert_eq!(lines("60"), lines("200"), "{name}");
    }
}

/// The indented lines below the headings after the options: examples, and first steps.
fn example_lines(help: &str) -> Vec<&str> {
    let is_heading = |line: &&str| !line.starts_with("Example") && !line.starts_with("Start here:");
    help.lines().skip_while(is_heading).skip(1).filter(|line| line.starts_with("  ")).collect()
}

/// A terminal's own width takes precedence.
#[test]
fn help_is_as_wide_as_the_terminal() {
    let (_, program) = PROGRAMS[0];
    let line = format!("stty cols 60 rows 24; COLUMNS=100 {program} copy --help");
    let said = run(Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()));
    let said = said.expect_code(0).stdout.replace('\r', "");
    assert!(said.contains("Usage:") && !said.contains('\u{a0}'), "{said}");
    let plain = said.replace("\u{1b}[0m", "").replace("\u{1b}[1m", "").replace("\u{1b}[4m", "");
    for line in plain.lines() {
        let fits = line.chars().count() <= 60;
        assert!(fits || example_lines(&plain).contains(&line), "{line}");
    }
}
