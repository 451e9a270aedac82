//! The independent reader of tests/reader, which shares no code with Lifeboat and is written from FORMAT.md: it
//! restores what was backed up, even if parts of the repository are lost, and never anything else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::gate::{interpreter, trial};
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::tree;

use crate::BINARIES;

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reader/reader.py");

type Test = fn(&Bench) -> Result<(), Failed>;

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 6] = [
        ("brings_back_every_snapshot_as_it_was", brings_back_every_snapshot),
        ("reads_past_rotated_keys_and_a_removed_host", reads_past_changes_of_the_roster),
        ("finds_lost_run_keys_and_chunks_elsewhere", finds_what_is_lost_elsewhere),
        ("refuses_what_was_changed", refuses_what_was_changed),
        ("leaves_no_file_that_is_not_whole", leaves_no_part_of_a_file),
        ("goes_by_the_same_rule_for_names", has_the_same_rule_for_names),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        trial(&format!("reader::{name}"), interpreter(), move |python| test(&Bench::new(python)))
    });
    trials.collect()
}

struct Bench {
    python: PathBuf,
    repo: TestRepository,
    source: PathBuf,
}

impl Bench {
    fn new(python: PathBuf) -> Self {
        let repo = TestRepository::in_folder(BINARIES);
        let source = repo.path("source");
        Self { python, repo, source }
    }

    /// Backs the source up; returns the snapshot's id.
    fn snapshot(&self) -> Result<String, Failed> {
        self.repo.snapshot(&self.source).expect_code(0);
        let said = self.repo.backup(["show", "latest", "--json"]).expect_code(0);
        let report: serde_json::Value = serde_json::from_str(&said.stdout)?;
        Ok(report["id"].as_str().ok_or("a snapshot has an id")?.to_owned())
    }

    fn read(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.python);
        command.arg(READER).arg(&self.repo.location).arg(self.repo.path("two.key")).args(args);
        run(command.env("PYTHONDONTWRITEBYTECODE", "1"))
    }

    fn restore(&self, snapshot: &str, name: &str) -> (Output, PathBuf) {
        let target = self.repo.path(name);
        (self.read(&[snapshot, &target.display().to_string()]), target)
    }

    /// Makes changes that need the recovery key.
    fn key(&self, args: &[&str]) -> Output {
        let mut command = self.repo.backup_command(["key"].iter().chain(args));
        command.env_remove("LIFEBOAT_WRITER_KEY").env("LIFEBOAT_IDENTITY", self.repo.path("one.key"));
        run(&mut command).expect_code(0)
    }
}

fn same_trees(
    found: &Path,
    expected: &std::collections::BTreeMap<PathBuf, tree::Facts>,
) -> Result<(), Failed> {
    let found = tree::look(found);
    for (path, facts) in expected {
        if found.get(path) != Some(facts) {
            return Err(format!("{}: {:?}, not {facts:?}", path.display(), found.get(path)).into());
        }
    }
    if found.len() == expected.len() { Ok(()) } else { Err("more came back than was backed up".into()) }
}

fn brings_back_every_snapshot(bench: &Bench) -> Result<(), Failed> {
    tree::build(&bench.source);
    let before = tree::look(&bench.source);
    let first = bench.snapshot()?;
    fs::write(bench.source.join("plain"), "another content")?;
    fs::remove_file(bench.source.join("program"))?;
    fs::write(bench.source.join("new"), "a file that was not there")?;
    let after = tree::look(&bench.source);
    let second = bench.snapshot()?;
    for (snapshot, expected) in [(&first, &before), (&second, &after)] {
        let (said, target) = bench.restore(snapshot, &snapshot[..8]);
        said.expect_code(0);
        same_trees(&target, expected)?;
    }
    let listed = bench.read(&[]).expect_code(0).stdout;
    let ids: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    if ids == [&first[..12], &second[..12]] { Ok(()) } else { Err(listed.into()) }
}

fn reads_past_changes_of_the_roster(bench: &Bench) -> Result<(), Failed> {
    fs::create_dir(&bench.source)?;
    fs::write(bench.source.join("file"), "before")?;
    let first = bench.snapshot()?;
    bench.key(&["rotate"]);
    bench.key(&["add", "keeper", &bench.repo.path("keeper.key").display().to_string()]);
    fs::write(bench.source.join("file"), "after")?;
    let second = bench.snapshot()?;
    let manifest = bench.repo.objects("snapshots").pop().ok_or("there is a manifest")?;
    let writer = manifest.iter().rev().nth(1).and_then(|id| id.to_str()).ok_or("a writer has a folder")?;
    bench.key(&["remove", "--yes", writer]);
    for (snapshot, content) in [(&first, "before"), (&second, "after")] {
        let (said, target) = bench.restore(snapshot, content);
        said.expect_code(0);
        if fs::read_to_string(target.join("file"))? != content {
            return Err(format!("{content} did not come back").into());
        }
    }
    // Earlier rosters are history, and what the root did not sign does not count.
    let rosters = PathBuf::from(&bench.repo.location).join("roster");
    fs::write(rosters.join("0000000000"), "damaged")?;
    fs::remove_file(rosters.join("0000000001"))?;
    fs::write(rosters.join("0000000099"), "not signed")?;
    let (said, target) = bench.restore(&second, "without-history");
    let said = said.expect_code(0);
    if fs::read_to_string(target.join("file"))? == "after" && said.stderr.contains("does not count") {
        return Ok(());
    }
    Err(said.stderr.into())
}

fn finds_what_is_lost_elsewhere(bench: &Bench) -> Result<(), Failed> {
    fs::create_dir(&bench.source)?;
    // Incompressible data is in the largest pack; the others hold item streams, which are in no other frame.
    let noise: Vec<u8> = (0_u32..50_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(bench.source.join("kept"), noise)?;
    let expected = tree::look(&bench.source);
    let first = bench.snapshot()?;
    let size = |pack: &PathBuf| fs::metadata(pack).map_or(0, |meta| meta.len());
    let data_pack = bench.repo.objects("packs").into_iter().max_by_key(size).ok_or("there is a pack")?;
    // A host that cannot see the index stores everything again; with the index back, every chunk has two places.
    let repository = PathBuf::from(&bench.repo.location);
    let (contents, aside) = (repository.join("contents"), bench.repo.path("contents-aside"));
    fs::rename(&contents, &aside)?;
    fs::remove_dir_all(bench.repo.path("cache"))?;
    bench.snapshot()?;
    for object in bench.repo.objects("contents") {
        let folder = aside.join(object.parent().and_then(Path::file_name).ok_or("it lies in a folder")?);
        fs::copy(&object, folder.join(object.file_name().ok_or("it has a name")?))?;
    }
    fs::remove_dir_all(&contents)?;
    fs::rename(&aside, &contents)?;
    fs::remove_dir_all(repository.join("runs"))?;
    let mut bytes = fs::read(&data_pack)?;
    // After the header, in which the run key is found.
    let header = u32::from_le_bytes(bytes[5..9].try_into()?) as usize;
    bytes[9 + header + 40] ^= 1;
    fs::write(&data_pack, bytes)?;
    let (said, target) = bench.restore(&first, "healed");
    let said = said.expect_code(0);
    if !said.stderr.contains("is damaged") || !said.stderr.contains("is looked for in packs") {
        return Err(said.stderr.into());
    }
    same_trees(&target, &expected)
}

fn refuses_what_was_changed(bench: &Bench) -> Result<(), Failed> {
    fs::create_dir(&bench.source)?;
    fs::write(bench.source.join("file"), "content")?;
    let snapshot = bench.snapshot()?;
    for folder in ["roster", "snapshots", "parts", "locations", "packs"] {
        let objects = bench.repo.objects(folder);
        let originals = objects.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
        for (object, bytes) in objects.iter().zip(&originals) {
            let mut changed = bytes.clone();
            changed[bytes.len() / 2] ^= 1;
            // The middle of a pack may be padding, but this hits every frame.
            let frames = if folder == "packs" { 2000..bytes.len() } else { 0..0 };
            changed[frames].iter_mut().for_each(|byte| *byte ^= 1);
            fs::write(object, changed)?;
        }
        let (said, target) = bench.restore(&snapshot, folder);
        if said.code == Some(0)
            || target.join("file").exists() && fs::read(target.join("file"))? == b"content"
        {
            return Err(format!("changed objects of `{folder}` were taken for whole").into());
        }
        for (object, bytes) in objects.iter().zip(&originals) {
            fs::write(object, bytes)?;
        }
    }
    bench.restore(&snapshot, "whole").0.expect_code(0);
    let other = ["--root", &"0".repeat(64)];
    if bench.read(&other).code == Some(0) {
        Err("another repository was taken for this one".into())
    } else {
        Ok(())
    }
}

fn leaves_no_part_of_a_file(bench: &Bench) -> Result<(), Failed> {
    fs::create_dir(&bench.source)?;
    let noise: Vec<u8> = (0_u32..750_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(bench.source.join("a.db"), &noise)?;
    fs::hard_link(bench.source.join("a.db"), bench.source.join("b.db"))?;
    let snapshot = bench.snapshot()?;
    let packs = bench.repo.objects("packs");
    let largest = packs.iter().max_by_key(|path| fs::metadata(path).map_or(0, |meta| meta.len()));
    let pack = largest.ok_or("there is a pack")?;
    // The second frame of the file: the first one is restored before the damage is found.
    let mut bytes = fs::read(pack)?;
    bytes[1_500_000] ^= 1;
    fs::write(pack, bytes)?;
    let (said, target) = bench.restore(&snapshot, "damaged");
    if said.code == Some(0) || target.join("a.db").exists() || target.join("b.db").exists() {
        return Err(format!("a part of a file is left: {}", said.stderr).into());
    }
    Ok(())
}

/// Every character, and texts at the length limits, are names to both readers or to neither.
fn has_the_same_rule_for_names(bench: &Bench) -> Result<(), Failed> {
    let script = "import sys; sys.path.insert(0, sys.argv[1]); from conventions import is_name\n\
                  points = (n for n in range(0x110000) if not 0xd800 <= n < 0xe000)\n\
                  texts = ['', '.', '..', '...', 'a' * 255, 'a' * 256, '\u{e9}' * 127, '\u{e9}' * 128]\n\
                  print([n for n in points if not is_name('a' + chr(n))], [is_name(t) for t in texts])";
    let folder = Path::new(READER).parent().ok_or("the reader lies in a folder")?;
    let mut command = Command::new(&bench.python);
    let said =
        run(command.args(["-c", script]).arg(folder).env("PYTHONDONTWRITEBYTECODE", "1")).expect_code(0);
    let is_name = |text: &str| lifeboat_vault::check_name(text).is_ok();
    let refused = ('\0'..=char::MAX).filter(|c| !is_name(&format!("a{c}"))).map(u32::from);
    let refused: Vec<String> = refused.map(|point| point.to_string()).collect();
    let texts =
        ["", ".", "..", "...", &"a".repeat(255), &"a".repeat(256), &"é".repeat(127), &"é".repeat(128)];
    let texts = texts.map(|text| if is_name(text) { "True" } else { "False" });
    let expected = format!("[{}] [{}]", refused.join(", "), texts.join(", "));
    if said.stdout.trim() == expected {
        Ok(())
    } else {
        Err(format!("{} is not {expected}", said.stdout).into())
    }
}
