//! Names that no keyboard has: `dump`, `ls`, `path` and `--exclude` accept what `find` and `ls` print, and also the
//! names' own bytes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lifeboat_tests::command::run;
use lifeboat_tests::repository::TestRepository;

use crate::BINARIES;

/// Names as bytes, and as printed.
const NAMES: [(&[u8], &str); 7] = [
    (b"\xff\xfe", r"\xff\xfe"),
    (b"line\nend", r"line\x0aend"),
    (br"back\slash", r"back\\slash"),
    (br"by\x2duuid.swap", r"by\\x2duuid.swap"),
    ("gpj\u{202e}.exe".as_bytes(), r"gpj\xe2\x80\xae.exe"),
    (b"-rf", "-rf"),
    ("Größe:1".as_bytes(), "Größe:1"),
];

fn with_names() -> TestRepository {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    for (name, text) in NAMES {
        let folder = source.join("in").join(OsStr::from_bytes(name));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(OsStr::from_bytes(name)), text).unwrap();
    }
    repo.snapshot(&source).expect_code(0);
    repo
}

#[test]
fn what_find_and_ls_print_is_what_dump_ls_and_path_take() {
    let repo = with_names();
    let found = repo.restore(["find", "*", "--json"]).expect_code(0).json();
    let addresses: Vec<&str> =
        found["matches"].as_array().unwrap().iter().map(|line| line["address"].as_str().unwrap()).collect();
    let printed = repo.restore(["find", "*"]).expect_code(0).stdout;
    let listed = repo.restore(["ls", "latest"]).expect_code(0).stdout;
    for (bytes, text) in NAMES {
        let path = format!("source/in/{text}/{text}");
        let address = addresses.iter().find(|address| address.ends_with(&path)).unwrap();
        assert_eq!(repo.restore(["dump", address]).expect_code(0).stdout, text, "{address}");
        let short = printed.lines().find(|line| line.ends_with(&path)).unwrap();
        let short = short.split_whitespace().last().unwrap();
        assert_eq!(repo.restore(["dump", short]).expect_code(0).stdout, text, "{short}");
        assert!(listed.lines().any(|line| line.ends_with(&format!(" in/{text}/{text}"))), "{text}: {listed}");

        let raw = [&b"in/"[..], bytes, b"/", bytes].concat();
        let raw_address = OsString::from_vec([b"latest:source/", &raw[..]].concat());
        let raw = OsString::from_vec(raw);
        let dump =
            |args: &[&OsStr]| repo.restore([&[OsStr::new("dump")], args].concat()).expect_code(0).stdout;
        assert_eq!(dump(&[&raw_address]), text, "{}", raw.display());
        assert_eq!(dump(&[OsStr::new("latest:source"), &raw]), text, "{}", raw.display());
        let one = repo.restore([OsStr::new("ls"), OsStr::new("--json"), &raw_address]).expect_code(0).json();
        assert_eq!(one["items"].as_array().unwrap().len(), 1, "{one}");

        let to = repo.path("to");
        let folder = address.strip_suffix(&format!("/{text}")).unwrap();
        repo.restore(["path", folder, "--to", to.to_str().unwrap()]).expect_code(0);
        assert_eq!(fs::read_to_string(to.join(OsStr::from_bytes(bytes))).unwrap(), text);
        fs::remove_dir_all(&to).unwrap();
    }
    let said = repo.restore(["dump", r"latest:source/in/\xfd"]).expect_code(2);
    assert!(said.stderr.contains(r"in/\xfd"), "{said:?}");
}

#[test]
fn what_is_printed_is_left_out_and_found_and_so_are_the_bytes() {
    let repo = with_names();
    let source = repo.path("source");
    let captured = |exclude: &OsStr| {
        let mut command = repo.backup_command(["run", "--json", "--path", source.to_str().unwrap()]);
        let mut option = OsString::from("--exclude=");
        option.push(exclude);
        let said = run(command.arg(option)).expect_code(0);
        said.json()["streams"][0]["items"].as_u64().unwrap()
    };
    let all = captured(OsStr::new("nothing"));
    let found = |pattern: &OsStr| {
        let mut command = repo.restore_command(["find", "--json", "--snapshot"]);
        let first = repo.backup(["list", "--json"]).expect_code(0).json();
        command.arg(first["snapshots"][0]["id"].as_str().unwrap()).arg("--").arg(pattern);
        run(&mut command).expect_code(0).json()["found"].as_u64().unwrap()
    };
    for (bytes, text) in NAMES {
        // In a pattern a backslash makes any next character ordinary.
        let raw: Vec<u8> =
            bytes.iter().flat_map(|b| if *b == b'\\' { vec![b'\\'; 2] } else { vec![*b] }).collect();
        for pattern in [OsStr::new(text), OsStr::from_bytes(&raw)] {
            assert_eq!(captured(pattern), all - 2, "{}", pattern.display());
            assert_eq!(found(pattern), 2, "{}", pattern.display());
        }
    }
    let file = repo.path("patterns");
    fs::write(&file, b"# odd\n\xff\xfe\r\n\\xff\\xfd\n").unwrap();
    let args =
        ["run", "--json", "--path", source.to_str().unwrap(), "--exclude-from", file.to_str().unwrap()];
    let said = repo.backup(args).expect_code(0);
    assert_eq!(said.json()["streams"][0]["items"], all - 2);
    assert!(said.stderr.contains(r"`\xff\xfd` left nothing out"), "{said:?}");
}

#[test]
fn a_repository_lies_in_a_folder_of_any_name() {
    for (name, shown) in [
        (&b"re\xff po"[..], "re%FF%20po"),
        (b"new\nline", "new%0Aline"),
        ("r\u{202e}l\u{1b}[31m".as_bytes(), "r%E2%80%AEl%1B[31m"),
    ] {
        lies_in(OsStr::from_bytes(name), shown);
    }
}

fn lies_in(name: &OsStr, shown: &str) {
    let repo = TestRepository::without_repository(BINARIES);
    let folder = repo.path("x").parent().unwrap().join(name);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "kept").unwrap();
    let with = |mut command: std::process::Command, folder: &Path| {
        command.env_remove("LIFEBOAT_REPOSITORY").arg("-r").arg(folder);
        run(&mut command)
    };
    let (key, writer) = (repo.path("one.key"), repo.path("writer.key"));
    let init = ["init", "--recovery-key", key.to_str().unwrap(), "--writer-key", writer.to_str().unwrap()];
    let args = init.iter().chain(&["--single-recipient"]);
    with(repo.backup_command(args), &folder).expect_code(0);
    let said = with(repo.backup_command(["run", "--json", "--path", source.to_str().unwrap()]), &folder);
    let location = said.expect_code(0).json()["location"].as_str().unwrap().to_owned();
    assert!(location.starts_with("file:///") && location.ends_with(shown), "{location}");
    // The displayed location is accepted, and other users cannot look inside.
    let mut list = repo.restore_command(["list", "-r", &location]);
    run(list.env_remove("LIFEBOAT_REPOSITORY")).expect_code(0);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(with(repo.restore_command(["dump", "latest", "file"]), &folder).expect_code(0).stdout, "kept");
    // The key file contains the location.
    let mut command = repo.restore_command(["dump", "latest", "file"]);
    assert_eq!(run(command.env_remove("LIFEBOAT_REPOSITORY")).expect_code(0).stdout, "kept");
    // The repository is captured as an empty folder if it is inside what is captured.
    let home = folder.parent().unwrap();
    let said = with(repo.backup_command(["run", "--json", "--path", home.to_str().unwrap()]), &folder);
    assert!(
        said.stderr
            .contains("note: the repository itself lies in what was captured: its folder is kept empty"),
        "{said:?}"
    );
}
