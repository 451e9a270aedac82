//! The recovery sheet, followed literally on a bare machine, and what a restore says about the rest of its snapshot.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lifeboat_store::{Location, OpenOptions, Settings, Store};
use lifeboat_testkit::context;
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::sheet::{bare_machine, commands};
use lifeboat_vault::{
    Consistency, FolderSource, PackSizes, PinFile, Repository, SnapshotOptions, SnapshotWriter, Stream,
    StreamKind, WriterKey,
};

use crate::BINARIES;

/// A folder with one file.
fn folder(repo: &TestRepository, name: &str, content: &str) -> String {
    let path = repo.path(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), content).unwrap();
    path.display().to_string()
}

/// Stores a snapshot the way a host with an engine does: of these streams, each a folder with one file.
async fn store(repo: &TestRepository, host: &str, streams: &[(StreamKind, &str)]) {
    let key = Arc::new(WriterKey::read(&repo.path("writer.key")).unwrap());
    let location = Location::parse(&repo.location).unwrap();
    let store = Store::open(&location, &Settings::default(), OpenOptions::default()).await.unwrap();
    let repository = Repository::open(store, &key.repository, PinFile::none()).await.unwrap();
    let options = SnapshotOptions {
        host: host.to_owned(),
        tags: Vec::new(),
        application: None,
        compression_level: 1,
        pack_sizes: PackSizes::default(),
        threads: 1,
        cache: None,
        dry_run: false,
    };
    let mut writer = SnapshotWriter::begin(repository, key, options, &context()).await.unwrap();
    let streams: Vec<Stream> = streams
        .iter()
        .map(|(kind, name)| Stream {
            kind: *kind,
            name: (*name).to_owned(),
            consistency: Consistency::None,
            cache_key: String::new(),
            source: Box::new(FolderSource::open(Path::new(&folder(repo, name, name))).unwrap()),
        })
        .collect();
    for stream in streams {
        (writer, _) = writer.capture(stream).await.unwrap();
    }
    writer.commit().await.unwrap();
}

fn piped(repo: &TestRepository, name: &str, text: &str) {
    let script = format!("printf %s '{text}'");
    repo.backup(["run", "--stdin-from-command", name, "--host", "web 1", "--", "sh", "-c", &script])
        .expect_code(0);
}

fn on_a_bare_machine(key: &Path, typed: &str) -> (tempfile::TempDir, Output) {
    bare_machine(BINARIES.restore, key, &[], typed)
}

/// The sheet's text, made with the recovery key.
fn sheet(repo: &TestRepository) -> String {
    let (page, identity) = (repo.path("sheet.html"), repo.path("one.key"));
    let args = ["key", "sheet", page.to_str().unwrap(), "--identity", identity.to_str().unwrap()];
    repo.backup(args).expect_code(0);
    fs::read_to_string(page).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sheet_followed_to_the_letter_brings_everything_back() {
    let repo = TestRepository::in_folder(BINARIES);
    store(&repo, "web 1", &[(StreamKind::Volume, "shop_db"), (StreamKind::Volume, "uploads")]).await;
    let take = |paths: &[&str], host: &str, more: &[&str]| {
        let paths = paths.iter().flat_map(|path| ["--path", *path]);
        repo.backup(["run", "--host", host].into_iter().chain(paths).chain(more.iter().copied()))
            .expect_code(0);
    };
    let (etc, site) = (folder(&repo, "etc", "settings"), folder(&repo, "o'site", "pages"));
    let (home, old) = (folder(&repo, "home", "letters"), folder(&repo, "etc", "older"));
    take(&[&old], "web 1", &[]);
    folder(&repo, "etc", "settings");
    // One host with folders in two ways, one of them with a tag; another with two folders at once.
    take(&[&etc], "web 1", &["--tag", "settings"]);
    take(&[&site], "web 1", &["--tag", "site"]);
    take(&[&home, &etc], "$(mail)", &[]);
    piped(&repo, "shop.sql", "an older dump");
    piped(&repo, "shop.sql", "a dump");
    // A snapshot of one volume, newer than the one of both.
    store(&repo, "web 1", &[(StreamKind::Volume, "shop_db")]).await;

    let page = sheet(&repo);
    for secret in ["one.key", "two.key"] {
        let key = fs::read_to_string(repo.path(secret)).unwrap();
        assert!(key.lines().filter(|line| !line.starts_with('#')).all(|line| !page.contains(line)));
    }
    let typed = commands(&page);
    let (machine, said) = on_a_bare_machine(&repo.path("two.key"), &typed);
    assert_eq!(said.code, Some(0), "{typed}\n{said:?}");
    let restored = |path: &str| fs::read_to_string(machine.path().join("restored").join(path));
    for (path, content) in [
        ("web_1/shop_db/file", "shop_db"),
        ("web_1/uploads/file", "uploads"),
        ("web_1/etc/file", "settings"),
        ("web_1/o_site/file", "pages"),
        ("web_1/shop.sql", "a dump"),
        ("__mail_/folders/home/file", "letters"),
        ("__mail_/folders/etc/file", "settings"),
    ] {
        assert_eq!(
            restored(path).unwrap_or_else(|error| panic!("{path}: {error}\n{typed}")),
            content,
            "{path}"
        );
    }

    // The printed page also works for later snapshots.
    folder(&repo, "etc", "newer settings");
    take(&[&etc], "web 1", &["--tag", "settings"]);
    piped(&repo, "shop.sql", "a newer dump");
    let (machine, said) = on_a_bare_machine(&repo.path("two.key"), &typed);
    assert_eq!(said.code, Some(0), "{said:?}");
    for (path, content) in
        [("etc/file", "newer settings"), ("o_site/file", "pages"), ("shop.sql", "a newer dump")]
    {
        assert_eq!(fs::read_to_string(machine.path().join("restored/web_1").join(path)).unwrap(), content);
    }
}

#[test]
fn the_sheet_has_an_id_where_no_tag_tells_folders_apart_and_is_made_without_snapshots() {
    let repo = TestRepository::in_folder(BINARIES);
    assert!(sheet(&repo).contains("No snapshot was there"));
    for name in ["one", "two"] {
        let path = folder(&repo, name, name);
        repo.backup(["run", "--path", &path]).expect_code(0);
    }
    let page = sheet(&repo);
    assert!(page.contains("named by digits"), "{page}");
    let (machine, said) = on_a_bare_machine(&repo.path("two.key"), &commands(&page));
    assert_eq!(said.code, Some(0), "{said:?}");
    let host = fs::read_dir(machine.path().join("restored")).unwrap().next().unwrap().unwrap().path();
    for name in ["one", "two"] {
        assert_eq!(fs::read_to_string(host.join(name).join("file")).unwrap(), name);
    }
    // A writer key does not know the paths of folders, and its sheet says so.
    let page = repo.path("of-writer.html");
    repo.backup(["key", "sheet", page.to_str().unwrap()]).expect_code(0);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("not made with a recovery key") && page.contains("latest --kind path"), "{page}");
}

/// A folder with the name of its kind, one with a name like an option, and a volume and standard input with the same
/// name.
#[tokio::test(flavor = "multi_thread")]
async fn the_sheet_tells_apart_what_has_one_name() {
    let repo = TestRepository::in_folder(BINARIES);
    let folders = ["path", "-dash", "etc"].map(|name| folder(&repo, name, name));
    let paths = folders.iter().flat_map(|path| ["--path", path]);
    repo.backup(["run", "--host", "web 1", "--tag", "conf"].into_iter().chain(paths)).expect_code(0);
    store(&repo, "web 1", &[(StreamKind::Volume, "twin")]).await;
    piped(&repo, "twin", "a dump");
    let typed = commands(&sheet(&repo));
    let (machine, said) = on_a_bare_machine(&repo.path("two.key"), &typed);
    assert_eq!(said.code, Some(0), "{typed}\n{said:?}");
    let restored = machine.path().join("restored/web_1");
    for (path, content) in [
        ("folders/path/file", "path"),
        ("folders/-dash/file", "-dash"),
        ("folders/etc/file", "etc"),
        ("twin", "a dump"),
        ("twin-2/file", "twin"),
    ] {
        assert_eq!(fs::read_to_string(restored.join(path)).unwrap(), content, "{path}: {typed}");
    }
}

#[test]
fn the_address_comes_from_the_recovery_key_where_none_is_given() {
    let repo = TestRepository::in_folder(BINARIES);
    let path = folder(&repo, "source", "content");
    repo.backup(["run", "--path", &path]).expect_code(0);
    let without = |mut command: Command| run(command.env_remove("LIFEBOAT_REPOSITORY"));
    let list = without(repo.restore_command(["list", "--json"])).expect_code(0).json();
    assert_eq!(list["snapshots"].as_array().unwrap().len(), 1, "{list}");
    let said = without(repo.restore_command(["dump", "latest", "file"])).expect_code(0);
    assert_eq!(said.stdout, "content");
    let said = without(repo.backup_command(["list"])).expect_code(2);
    assert!(said.stderr.contains("no repository was named") && said.stderr.contains("-r REPO"), "{said:?}");
    // An explicit location takes precedence.
    let elsewhere = repo.path("elsewhere").display().to_string();
    let said = without(repo.restore_command(["list", "-r", &elsewhere])).expect_code(2);
    assert!(said.stderr.contains("elsewhere"), "{said:?}");
}

#[test]
fn a_repository_in_a_relative_folder_is_found_from_anywhere_by_its_keys() {
    let repo = TestRepository::without_repository(BINARIES);
    let args =
        ["init", "-r", "here", "--recovery-key", "a.key", "--recovery-key", "b.key", "--writer-key", "w.key"];
    let mut init = repo.backup_command(args);
    run(init.current_dir(repo.path(""))).expect_code(0);
    let mut list = repo.restore_command(["list", "--identity", repo.path("a.key").to_str().unwrap()]);
    run(list.env_remove("LIFEBOAT_REPOSITORY").current_dir("/")).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_says_what_it_left_out_of_the_snapshot() {
    let repo = TestRepository::in_folder(BINARIES);
    let streams =
        [(StreamKind::Volume, "shop_db"), (StreamKind::Volume, "uploads"), (StreamKind::Path, "path")];
    store(&repo, "vm", &streams).await;
    let to = |name: &str| repo.path(name).display().to_string();
    let said = repo.restore(["path", "latest", "--to", &to("a")]).expect_code(0).stdout;
    let expected =
        "LEFT OUT: 2 volumes are in this snapshot too: shop_db, uploads; `lifeboat-restore volume ";
    assert!(said.contains(expected) && said.contains("restores them"), "{said}");
    let said = repo.restore(["volume", "latest", "uploads", "--to-dir", &to("b")]).expect_code(0).stdout;
    assert!(said.contains("LEFT OUT: 1 volume is in this snapshot too: shop_db;"), "{said}");
    assert!(
        said.contains("LEFT OUT: 1 folder is in this snapshot too: path; `lifeboat-restore path "),
        "{said}"
    );
    let json = repo.restore(["path", "latest", "--to", &to("c"), "--json"]).expect_code(0).json();
    assert_eq!(json["left_out"][1]["name"], "uploads", "{json}");

    store(&repo, "vm", &[(StreamKind::Path, "path")]).await;
    let said = repo.restore(["path", "latest", "--to", &to("d")]).expect_code(0).stdout;
    assert!(!said.contains("LEFT OUT"), "{said}");
}
