//! Round trips through the programs, on a folder and on a real S3 server, judged by rsync.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::gate::{Missing, trial};
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::s3::S3;
use lifeboat_tests::sheet::{bare_machine, commands};
use lifeboat_tests::tree;

use crate::BINARIES;

/// rsync, comparing everything that it can, including contents, and changing nothing.
fn find_rsync() -> Result<(), Missing> {
    let answer = Command::new("rsync").arg("--version").output();
    match answer {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err(Missing("rsync is not on the PATH; run scripts/setup".to_owned())),
    }
}

fn differences(source: &Path, target: &Path) -> String {
    let said = run(Command::new("rsync")
        .args(["-aHAXn", "--delete", "--checksum", "--itemize-changes"])
        .arg(source.join(""))
        .arg(target.join("")));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    said.stdout
}

pub(crate) fn trials() -> Vec<Trial> {
    let (rsync, s3) = (find_rsync(), S3::find("LIFEBOAT_TEST_S3"));
    let both = rsync.clone().and_then(|()| s3.clone());
    vec![
        trial("storage::rsync_finds_no_difference_in_a_restored_tree", rsync, |()| {
            whole_tree(&TestRepository::in_folder(BINARIES));
            Ok(())
        }),
        trial("storage::rsync_finds_no_difference_after_a_way_through_s3", both, |s3| {
            let repo = TestRepository::on_s3(BINARIES, &s3);
            repo.init().expect_code(0);
            whole_tree(&repo);
            Ok(())
        }),
        trial("storage::snapshots_on_s3_are_listed_and_told_apart", s3.clone(), |s3| {
            several(&s3);
            Ok(())
        }),
        trial("storage::what_s3_refuses_is_said", s3.clone(), |s3| {
            refusals(&s3);
            Ok(())
        }),
        trial("storage::the_recovery_sheet_leads_to_s3", s3, |s3| {
            recovery_sheet(&s3);
            Ok(())
        }),
    ]
}

fn whole_tree(repo: &TestRepository) {
    let (source, target) = (repo.path("source"), repo.path("target"));
    tree::build(&source);
    repo.snapshot(&source).expect_code(0);
    repo.restore(["path", "latest", "--to", target.to_str().unwrap()]).expect_code(0);
    assert_eq!(differences(&source, &target), "");
    // rsync does not check that holes are holes.
    let sparse = fs::metadata(target.join("sparse")).unwrap();
    assert_eq!(sparse.size(), 5 << 30);
    assert!(sparse.blocks() * 512 < 1 << 20, "{} blocks", sparse.blocks());
    // Make sure that it would have found a difference.
    fs::set_permissions(target.join("program"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_ne!(differences(&source, &target), "");
}

fn several(s3: &S3) {
    let repo = TestRepository::on_s3(BINARIES, s3);
    repo.init().expect_code(0);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    for content in ["first", "second"] {
        fs::write(source.join("file"), content).unwrap();
        repo.backup(["run", "--path", source.to_str().unwrap(), "--tag", content]).expect_code(0);
    }
    let said = repo.backup(["list", "--json"]).expect_code(0).stdout;
    let list: serde_json::Value = serde_json::from_str(&said).unwrap();
    let snapshots = list["snapshots"].as_array().unwrap();
    assert_eq!(snapshots.len(), 2, "{said}");
    let first = snapshots.iter().find(|snapshot| snapshot["tags"][0] == "first").unwrap();
    let id = first["id"].as_str().unwrap();
    assert_eq!(repo.restore(["dump", id, "file"]).expect_code(0).stdout, "first");
    assert_eq!(repo.restore(["dump", "latest", "file"]).expect_code(0).stdout, "second");
    let again = repo.snapshot(&source).expect_code(0);
    assert!(again.stdout.contains("0 B new"), "{}", again.stdout);
}

/// The exit code and standard error, without what differs between runs.
fn told(repo: &TestRepository, said: &Output) -> String {
    let stderr = repo.plain(&said.stderr).replace(&repo.location, "LOCATION");
    format!("exit code {:?}\n{}", said.code, stderr.trim_end())
}

fn refusals(s3: &S3) {
    let mut repo = TestRepository::on_s3(BINARIES, s3);
    repo.init().expect_code(0);
    for key in ["one.key", "two.key", "writer.key"] {
        fs::rename(repo.path(key), repo.path(&format!("kept-{key}"))).unwrap();
    }
    insta::assert_snapshot!("a_second_init_on_s3", told(&repo, &repo.init()));
    fs::rename(repo.path("kept-writer.key"), repo.path("writer.key")).unwrap();

    let elsewhere = format!("{}-elsewhere", repo.location);
    insta::assert_snapshot!("no_repository_on_s3", told(&repo, &repo.backup(["list", "-r", &elsewhere])));
    let no_bucket = repo.backup(["list", "-r", "s3://lifeboat-no-such-bucket/x"]);
    insta::assert_snapshot!("no_bucket_on_s3", told(&repo, &no_bucket));
    for (name, value) in &mut repo.variables {
        if name == "AWS_SECRET_ACCESS_KEY" {
            "wrong".clone_into(value);
        }
    }
    insta::assert_snapshot!("a_wrong_secret_on_s3", told(&repo, &repo.backup(["list"])));
    insta::assert_snapshot!(
        "an_init_with_a_wrong_secret_on_s3",
        told(&repo, &repo.backup(init_elsewhere(&repo)))
    );
    let with = |name: &str, value: &str| {
        let mut command = repo.backup_command(["list"]);
        command.envs(s3.variables());
        told(&repo, &run(command.env(name, value)))
    };
    insta::assert_snapshot!("an_unknown_key_on_s3", with("AWS_ACCESS_KEY_ID", "nobody"));
    insta::assert_snapshot!("a_wrong_token_on_s3", with("AWS_SESSION_TOKEN", "nonsense"));
}

fn init_elsewhere(repo: &TestRepository) -> Vec<String> {
    let file = |name: &str| repo.path(name).display().to_string();
    let location = format!("{}-new", repo.location);
    let (one, two, writer) = (file("new-1.key"), file("new-2.key"), file("new-w.key"));
    let args =
        ["init", "-r", &location, "--recovery-key", &one, "--recovery-key", &two, "--writer-key", &writer];
    args.map(str::to_owned).to_vec()
}

fn recovery_sheet(s3: &S3) {
    let repo = TestRepository::on_s3(BINARIES, s3);
    repo.init().expect_code(0);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    repo.snapshot(&source).expect_code(0);
    let (page, identity) = (repo.path("sheet.html"), repo.path("one.key"));
    let args = ["key", "sheet", page.to_str().unwrap(), "--identity", identity.to_str().unwrap()];
    repo.backup(args).expect_code(0);
    let page = fs::read_to_string(page).unwrap();
    // The sheet contains the endpoint and the region; it asks for the credentials and contains none.
    let is_credential = |name: &str| ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].contains(&name);
    let (credentials, settings): (Vec<_>, Vec<_>) =
        repo.variables.clone().into_iter().partition(|(name, _)| is_credential(name));
    for (name, value) in &settings {
        assert!(page.contains(name) && page.contains(value), "{name}");
    }
    for (name, value) in &credentials {
        assert!(page.contains(name) && (name == "AWS_ACCESS_KEY_ID" || !page.contains(value)), "{name}");
    }
    let typed = commands(&page);
    let (machine, said) = bare_machine(BINARIES.restore, &repo.path("two.key"), &credentials, &typed);
    assert_eq!(said.code, Some(0), "{typed}\n{said:?}");
    let host = fs::read_dir(machine.path().join("restored")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(host.join("source/file")).unwrap(), "content");
    // The server's clock is used.
    let said = repo.backup(["doctor"]);
    assert!(
        said.stdout.contains("ok       clock        this host's clock and the storage's agree"),
        "{said:?}"
    );
}
