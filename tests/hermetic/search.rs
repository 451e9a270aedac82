//! Searching many snapshots at once: `find`, `diff` and `stats`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lifeboat_tests::command::Output;
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::tree;
use serde_json::Value;

use crate::BINARIES;

/// Runs `lifeboat-backup` with a recovery key in addition to the writer key.
fn reading(repo: &TestRepository, args: &[&str]) -> Output {
    repo.backup(args.iter().copied().chain(["--identity", repo.path("one.key").to_str().unwrap()]))
}

/// Captures `source` and returns the snapshot's id.
fn snapshot(repo: &TestRepository, source: &Path, flags: &[&str]) -> String {
    let args = ["run", "--json", "--path", source.to_str().unwrap()];
    let said = repo.backup(args.iter().chain(flags)).expect_code(0);
    said.json()["snapshot"].as_str().unwrap().to_owned()
}

fn small_tree(repo: &TestRepository) -> PathBuf {
    let source = repo.path("source");
    for file in ["etc/app.conf", "etc/app/more.conf", "data/a.sql", "data/old/b.SQL"] {
        let path = source.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    fs::write(source.join(OsStr::from_bytes(b"data/odd-\xff.sql")), b"odd").unwrap();
    source
}

#[test]
fn items_are_found_by_name_by_path_and_by_path_on_the_host_in_every_snapshot() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = small_tree(&repo);
    let first = snapshot(&repo, &source, &["--tag", "before"]);
    fs::remove_file(source.join("data/a.sql")).unwrap();
    let second = snapshot(&repo, &source, &["--host", "other", "--tag", "after"]);

    let found = |args: &[&str]| -> Vec<(String, String)> {
        let document = reading(&repo, &[&["find", "--json"], args].concat()).expect_code(0).json();
        let listed = document["matches"].as_array().unwrap().len();
        assert_eq!(document["found"].as_u64(), Some(listed as u64));
        let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        let lines = document["matches"].as_array().unwrap().iter();
        lines.map(|line| (text(line, "snapshot"), text(line, "path"))).collect()
    };
    let in_both = |path: &str| vec![(first.clone(), path.to_owned()), (second.clone(), path.to_owned())];
    assert_eq!(found(&["app.conf"]), in_both("etc/app.conf"));
    assert_eq!(found(&["etc/*.conf"]), in_both("etc/app.conf"));
    let on_host = format!("{}/etc/app/*", source.display());
    assert_eq!(found(&[&on_host]), in_both("etc/app/more.conf"));
    assert_eq!(found(&["etc/"]), in_both("etc"));
    assert_eq!(found(&["a.sql"]), [(first.clone(), "data/a.sql".to_owned())]);
    assert_eq!(found(&["b.sql"]), []);
    assert_eq!(found(&["b.sql", "-i", "--tag", "after"]), [(second.clone(), "data/old/b.SQL".to_owned())]);
    assert_eq!(found(&["b.SQL", "--host", "other"]), [(second.clone(), "data/old/b.SQL".to_owned())]);
    assert_eq!(found(&["b.SQL", "--snapshot", &first[..12]]), [(first.clone(), "data/old/b.SQL".to_owned())]);

    let odd = reading(&repo, &["find", "odd*", "--json", "--snapshot", &first]).expect_code(0).json();
    let line = &odd["matches"][0];
    assert_eq!(line["path_hex"], "646174612f6f64642dff2e73716c");
    assert_eq!(
        (&line["kind"], &line["size_bytes"], &line["stream"]),
        (&"file".into(), &3.into(), &"source".into())
    );
}

#[test]
fn a_find_for_people_is_a_line_for_each_item_and_a_sum() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = small_tree(&repo);
    let id = snapshot(&repo, &source, &[]);
    let said = reading(&repo, &["find", "etc/**"]).expect_code(0).stdout;
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(lines[0].contains("  folder  "), "{said}");
    assert!(lines[1].ends_with(&format!("  {}:source/etc/app/more.conf", &id[..12])), "{said}");
    assert_eq!(lines[3], "3 items found in 1 snapshot");
    // `dump` takes the last column.
    let address = lines[1].rsplit("  ").next().unwrap();
    assert_eq!(repo.restore(["dump", address]).expect_code(0).stdout, "etc/app/more.conf");
    assert_eq!(reading(&repo, &["find", "etc/**", "--quiet"]).expect_code(0).stdout, "");
    let said = reading(&repo, &["find", "nowhere"]).expect_code(0).stdout;
    assert_eq!(said, "nothing found in 1 snapshot\n");
}

/// Both programs find the same, and other verbs accept the addresses that they print.
#[test]
fn what_find_prints_names_the_same_item_everywhere() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = small_tree(&repo);
    let other = repo.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("a.sql"), b"of the other").unwrap();
    let id = snapshot(&repo, &source, &["--path", other.to_str().unwrap()]);
    let said = repo.restore(["find", "a.sql"]).expect_code(0).stdout;
    assert_eq!(said, reading(&repo, &["find", "a.sql"]).expect_code(0).stdout);
    let document = repo.restore(["find", "a.sql", "--json"]).expect_code(0).json();
    let addresses: Vec<&str> = document["matches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["address"].as_str().unwrap())
        .collect();
    assert_eq!(addresses, [format!("{id}:source/data/a.sql"), format!("{id}:other/a.sql")]);

    let dumped = |args: &[&str]| repo.restore([&["dump"], args].concat()).expect_code(0).stdout;
    let listed = |args: &[&str]| -> Vec<String> {
        let document = repo.restore([&["ls", "--json"], args].concat()).expect_code(0).json();
        let items = document["items"].as_array().unwrap().iter();
        items
            .map(|item| format!("{}:{}", item["stream"].as_str().unwrap(), item["path"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(dumped(&[addresses[0]]), "data/a.sql");
    assert_eq!(dumped(&["latest:other", "a.sql"]), "of the other");
    assert_eq!(dumped(&["latest", "other/a.sql"]), "of the other");
    assert_eq!(listed(&[addresses[0]]), ["source:data/a.sql"]);
    assert_eq!(listed(&["latest", "source/data/a.sql"]), ["source:data/a.sql"]);
    assert_eq!(listed(&["latest", "data/a.sql"]), ["source:data/a.sql"]);
    for whole in [&["latest:other"][..], &[&format!("{}:other", &id[..12])], &["latest", "other"]] {
        assert_eq!(listed(whole), ["other:", "other:a.sql"]);
    }
    assert_eq!(listed(&["latest:source", "data/old"]), ["source:data/old", "source:data/old/b.SQL"]);

    let target = repo.path("target").display().to_string();
    repo.restore(["path", "latest:other", "--to", &target]).expect_code(0);
    assert_eq!(fs::read(repo.path("target/a.sql")).unwrap(), b"of the other");
    repo.restore(["diff", "latest:other", &target]).expect_code(0);
    let file = repo.path("file").display().to_string();
    let said = repo.restore(["path", addresses[0], "--to", &file]).expect_code(0);
    assert!(said.stdout.contains("path source/data/a.sql, from "), "{said:?}");
    assert_eq!(fs::read(repo.path("file/a.sql")).unwrap(), b"data/a.sql");
    repo.restore(["diff", addresses[0], &file]).expect_code(0);
    for (args, what) in [
        (&["ls", "latest:nothing"][..], "nothing"),
        (&["ls", "latest:"], "SNAP:NAME"),
        (&["dump", "latest:source"], "names no file"),
        (&["dump", "latest"], "names no file"),
        (&["volume", "latest"], "names no volume"),
    ] {
        let said = repo.restore(args).expect_code(2);
        assert!(said.stderr.contains(what), "{args:?}: {}", said.stderr);
    }
}

#[test]
fn paths_are_not_for_the_writer_key() {
    let repo = TestRepository::in_folder(BINARIES);
    let id = snapshot(&repo, &small_tree(&repo), &[]);
    for args in [&["find", "*"][..], &["diff", &id, &id]] {
        let said = repo.backup(args).expect_code(2);
        assert!(said.stderr.contains("a writer key cannot read backups back"), "{}", said.stderr);
    }
    reading(&repo, &["find", "[a-"]).expect_code(2);
    reading(&repo, &["find", "!a"]).expect_code(2);
    reading(&repo, &["find", "a", "--snapshot", "0123abcd"]).expect_code(2);
}

#[test]
fn a_snapshot_that_cannot_be_searched_is_told_and_the_others_are_searched() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = small_tree(&repo);
    snapshot(&repo, &source, &[]);
    let packs = repo.objects("packs");
    fs::write(source.join("new.conf"), b"new").unwrap();
    snapshot(&repo, &source, &[]);
    for pack in repo.objects("packs").iter().filter(|pack| !packs.contains(pack)) {
        fs::remove_file(pack).unwrap();
    }
    let said = reading(&repo, &["find", "*.conf"]).expect_code(1).stdout;
    assert!(said.contains("source/etc/app.conf") && said.contains("UNREADABLE: snapshot"), "{said}");
}

#[test]
fn every_way_in_which_an_item_changes_is_told() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    tree::build(&source);
    let at = |name: &str| source.join(name);
    fs::write(at("grows"), b"short").unwrap();
    fs::write(at("same-size"), b"before").unwrap();
    fs::write(at("gone"), b"gone").unwrap();
    let before = snapshot(&repo, &source, &[]);

    let time = fs::metadata(at("same-size")).unwrap().modified().unwrap();
    fs::write(at("same-size"), b"after!").unwrap();
    fs::File::options().write(true).open(at("same-size")).unwrap().set_modified(time).unwrap();
    fs::write(at("grows"), b"longer").unwrap();
    fs::remove_file(at("gone")).unwrap();
    fs::write(at("added"), b"added").unwrap();
    fs::set_permissions(at("program"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(at("dangling")).unwrap();
    std::os::unix::fs::symlink("/elsewhere", at("dangling")).unwrap();
    fs::remove_file(at("one/linked")).unwrap();
    fs::remove_file(at("fifo")).unwrap();
    fs::create_dir(at("fifo")).unwrap();
    let after = snapshot(&repo, &source, &[]);

    let document = reading(&repo, &["diff", &before, &after, "--json"]).expect_code(0).json();
    let change = |path: &str| {
        let lines = document["changes"].as_array().unwrap();
        let line = lines.iter().find(|line| line["path"] == path);
        line.map(|line| format!("{} {}", line["what"].as_str().unwrap(), line["aspects"])).unwrap_or_default()
    };
    assert_eq!(change("added"), "added []");
    assert_eq!(change("gone"), "removed []");
    assert_eq!(change("same-size"), r#"changed ["content"]"#);
    assert_eq!(change("grows"), r#"changed ["mtime","size"]"#);
    assert_eq!(change("program"), r#"changed ["mode"]"#);
    assert_eq!(change("dangling"), r#"changed ["mtime","target"]"#);
    assert_eq!(change("one/linked"), "removed []");
    assert_eq!(change("two/linked"), r#"changed ["links"]"#);
    assert_eq!(change("fifo"), r#"changed ["kind"]"#);
    assert_eq!(change("large"), "");
    assert_eq!((&document["added"], &document["removed"]), (&1.into(), &2.into()));
    assert_eq!((&document["added_bytes"], &document["removed_bytes"]), (&5.into(), &23.into()));

    let said = reading(&repo, &["diff", &before[..12], &after]).expect_code(0).stdout;
    assert!(said.contains("changed  source/same-size (content)\n"), "{said}");
    assert!(
        said.trim_end().lines().last().unwrap().starts_with("1 added (5 B), 2 removed (23 B), "),
        "{said}"
    );
    let same = reading(&repo, &["diff", &after, "latest"]).expect_code(0).stdout;
    assert!(same.starts_with("no difference in "), "{same}");
}

#[test]
fn streams_are_compared_by_kind_and_name_and_one_without_a_counterpart_is_told_whole() {
    let repo = TestRepository::in_folder(BINARIES);
    let (one, two) = (repo.path("one"), repo.path("two"));
    for folder in [&one, &two] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), b"the same").unwrap();
    }
    let before = snapshot(&repo, &one, &["--path", two.to_str().unwrap()]);
    // In the opposite order, so that the first stored folder is a different one.
    let after = snapshot(&repo, &two, &["--path", one.to_str().unwrap()]);
    let only_one = snapshot(&repo, &one, &[]);
    let said = reading(&repo, &["diff", &before, &after]).expect_code(0).stdout;
    assert_eq!(said, "no difference in 4 items\n");
    let said = reading(&repo, &["diff", &before, &only_one]).expect_code(0).stdout;
    assert!(said.starts_with("removed  path two: 2 items, 8 B\n"), "{said}");
    let said = reading(&repo, &["diff", &only_one, &before]).expect_code(0).stdout;
    assert!(said.starts_with("added    path two: 2 items, 8 B\n"), "{said}");
}

#[test]
fn statistics_need_the_writer_key_only_and_count_every_object() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    let lines: Vec<String> = (0..20_000).map(|n| format!("line {n:06} compresses well")).collect();
    let text = lines.join("\n");
    fs::write(source.join("text"), &text).unwrap();
    let noise: Vec<u8> = (0_u32..100_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(source.join("noise"), noise).unwrap();
    snapshot(&repo, &source, &["--host", "one"]);
    snapshot(&repo, &source, &["--host", "two"]);

    let document = repo.backup(["stats", "--json"]).expect_code(0).json();
    assert_eq!(document["hosts"], serde_json::json!(["one", "two"]));
    let bytes = text.len() + 400_000;
    for (name, snapshots) in [("newest", 1), ("all", 2)] {
        let captured = &document[name];
        assert_eq!(captured["snapshots"], snapshots);
        assert_eq!(
            (&captured["items"], &captured["data_bytes"]),
            (&(3 * snapshots).into(), &(bytes * snapshots).into())
        );
    }
    let objects = repo.objects("");
    let stored: u64 = objects.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(
        (&document["object_count"], &document["stored_bytes"]),
        (&objects.len().into(), &stored.into())
    );
    let kinds = document["objects"].as_array().unwrap();
    let of_kind =
        |kind: &str| kinds.iter().find(|line| line["kind"] == kind).unwrap()["objects"].as_u64().unwrap();
    for (kind, folder) in
        [("packs", "packs"), ("manifests", "snapshots"), ("keys", "keys"), ("parts", "parts")]
    {
        assert_eq!(of_kind(kind), repo.objects(folder).len() as u64, "{kind}");
    }
    // Everything was captured twice and stored once; more than half of what was stored is text.
    let ratio = |name: &str| document[name].as_f64().unwrap();
    assert!((1.9..2.1).contains(&ratio("deduplication_ratio")), "{document}");
    assert!(ratio("compression_ratio") > 1.8, "{document}");

    let said = repo.backup(["stats"]).expect_code(0).stdout;
    assert!(said.starts_with("2 snapshots of 2 hosts: one, two\n"), "{said}");
    reading(&repo, &["stats"]).expect_code(0);
}

#[test]
fn an_empty_repository_has_statistics() {
    let repo = TestRepository::in_folder(BINARIES);
    let document = repo.backup(["stats", "--json"]).expect_code(0).json();
    assert_eq!(document["all"]["snapshots"], 0);
    assert_eq!(document["deduplication_ratio"], Value::Null);
}

/// For a folder as for a volume, the latest snapshot that holds it is used; a filter that matches nothing is not a
/// loss.
#[test]
fn the_latest_that_holds_a_folder_is_found_though_another_job_ran_last() {
    let repo = TestRepository::in_folder(BINARIES);
    let (site, etc) = (repo.path("site"), repo.path("etc"));
    for folder in [&site, &etc] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), folder.file_name().unwrap().as_bytes()).unwrap();
        fs::create_dir(folder.join("sub")).unwrap();
    }
    snapshot(&repo, &site, &[]);
    snapshot(&repo, &etc, &["--tag", "conf"]);
    assert_eq!(repo.restore(["dump", "latest:site/file"]).expect_code(0).stdout, "site");
    assert_eq!(repo.restore(["dump", "latest:etc/file", "--kind", "path"]).expect_code(0).stdout, "etc");
    for (args, words) in [
        (&["dump", "latest:nothing/file"][..], &["nothing", "it has etc"][..]),
        (&["dump", "latest:site/sub"], &["is a folder, and no file", "lifeboat-restore path"]),
        (&["ls", "latest", "--host", "nohost"], &["of host `nohost`", "there are snapshots of"]),
        (&["ls", "latest", "--tag", "nope"], &["tags", "there are others"]),
        (&["ls", "latest", "--kind", "volume"], &["kind", "there are others"]),
        (&["dump", "latest:site/gone"], &["`site/gone`"]),
        (&["ls", "latest", "--path", "/no/such"], &["folder", "there are others"]),
        (&["ls", "latest", "--volume", "none"], &["volume", "there are others"]),
    ] {
        let said = repo.restore(args).expect_code(2);
        for word in words {
            assert!(said.stderr.contains(word), "{args:?}: {}", said.stderr);
        }
    }
    // By the folder's path on the host, in any spelling.
    for path in [format!("{}", site.display()), format!("{}//./", site.display())] {
        let dumped = repo.restore(["dump", "latest", "file", "--path", &path]).expect_code(0).stdout;
        assert_eq!(dumped, "site", "{path}");
        let list = ["list", "--json", "--path", &path];
        assert_eq!(repo.restore(list).expect_code(0).json()["snapshots"].as_array().unwrap().len(), 1);
        let said = repo.backup(["list", "--path", &path]).expect_code(2);
        assert!(said.stderr.contains("a recovery key"), "{said:?}");
    }
}
