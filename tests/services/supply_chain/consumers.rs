//! Compares our verdicts with what other programs take: Docker, containerd, skopeo, podman, crane and oras on the same
//! bytes.
//!
//! Exit code 0 promises that none of them finds another image than the one that was named. It is not a contradiction if
//! one refuses.

mod programs;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use lifeboat_core::Sha256Digest;
use lifeboat_tests::archive::{Entry, archive, entries_of, set_checksum};
use lifeboat_tests::command::{lifeboat, run};
use lifeboat_tests::course::Course;
use lifeboat_tests::gate::{Missing, listening, setting, trial};
use lifeboat_tests::polyglot::{Image, Pair};
use serde_json::Value;
use tempfile::TempDir;

use self::programs::{Programs, Taken};
use super::{PASSPHRASE, SIGN, VERIFY};

pub(crate) fn trials() -> Vec<Trial> {
    let needs = || {
        setting("LIFEBOAT_TEST_DOCKER")?;
        Ok::<_, Missing>(Programs {
            registry: listening("LIFEBOAT_TEST_REFERRERS_REGISTRY")?,
            crane: setting("LIFEBOAT_TEST_CRANE")?,
            oras: setting("LIFEBOAT_TEST_ORAS")?,
            skopeo: setting("LIFEBOAT_TEST_SKOPEO")?,
            podman: setting("LIFEBOAT_TEST_PODMAN")?,
            containerd: programs::containerd(),
        })
    };
    let consumers = |name: &str, test: fn(&Desk) -> Result<(), Failed>| {
        trial(&format!("supply_chain::consumers::{name}"), needs(), move |programs| {
            test(&Desk::new(programs)?)
        })
    };
    vec![
        consumers("archives_that_are_verified", archives_that_are_verified),
        consumers("archives_that_deceive", archives_that_deceive),
        consumers("mutants_of_an_archive", mutants_of_an_archive),
        consumers("layouts", layouts),
        consumers("platforms", platforms),
    ]
}

struct Desk {
    folder: TempDir,
    programs: Programs,
    pair: Pair,
}

impl Desk {
    fn new(programs: Programs) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        // The engine is shared, so the image's name must be unique.
        let unique = folder.path().file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let unique: String = unique.chars().filter(char::is_ascii_alphanumeric).collect();
        let desk = Self { programs, pair: Pair::new(&format!("lifeboat-test/{unique}:1")), folder };
        desk.sign(&["keygen", "release"]);
        Ok(desk)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn sign(&self, args: &[&str]) {
        let mut command = lifeboat(SIGN, self.folder.path(), args);
        run(command.current_dir(&self.folder).env("COSIGN_PASSWORD", PASSPHRASE)).expect_code(0);
    }

    /// The verified digest, if verification succeeds.
    fn verified(&self, reference: &str, more: &[&str]) -> Option<Sha256Digest> {
        let args = [&["--json", "image", reference, "--key", "release.pub"], more].concat();
        let said = run(lifeboat(VERIFY, self.folder.path(), args).current_dir(&self.folder));
        if said.code != Some(0) {
            return None;
        }
        said.json()["digest"].as_str().and_then(|digest| Sha256Digest::from_oci(digest).ok())
    }

    /// What signing the good image adds to an archive in Docker's form.
    fn corner(&self) -> Result<Vec<Entry>, Failed> {
        fs::write(self.path("it.tar"), archive(&self.pair.plain()))?;
        self.sign(&["image", "docker-archive:it.tar:1", "--key", "release.key"]);
        run(std::process::Command::new("tar").args(["-xf", "it.tar", "lifeboat"]).current_dir(&self.folder));
        Ok(entries_of(&self.path("lifeboat"), "lifeboat/"))
    }

    /// The files of a layout with the good image signed.
    fn layout(&self) -> Result<Vec<Entry>, Failed> {
        write(&self.path("layout"), &self.pair.layout())?;
        self.sign(&["image", "oci:layout:1", "--key", "release.key"]);
        Ok(entries_of(&self.path("layout"), ""))
    }

    /// Which of the two images each program takes from the archive in Docker's form.
    fn taken_from_archive(&self, file: &Path) -> Result<Vec<(&'static str, Taken)>, Failed> {
        self.programs.load_docker_archive(file, &self.pair.reference, self.folder.path())
    }

    /// Which of the two an image is; `None` for any other.
    fn name_of(&self, taken: &Taken) -> Option<&'static str> {
        let is =
            |image: &Image| taken.config == image.id() && taken.layers == [Sha256Digest::of(&image.layer)];
        [&self.pair.good, &self.pair.evil].into_iter().find(|image| is(image)).map(|image| image.name)
    }

    /// Verifies the archive; if it is verified, every program that takes an image must take the one that was named.
    fn judge(&self, name: &str, prefixes: &[&str]) -> Result<bool, Failed> {
        let digest = prefixes.iter().find_map(|prefix| self.verified(&format!("{prefix}:it.tar:1"), &[]));
        let Some(digest) = digest else { return Ok(false) };
        let good = [self.pair.good.id(), Sha256Digest::of(&self.pair.good.manifest())];
        assert!(good.contains(&digest), "{name}: another image is verified");
        for (program, taken) in self.taken_from_archive(&self.path("it.tar"))? {
            assert_eq!(self.name_of(&taken), Some("good"), "{name}: {program} takes another image");
        }
        Ok(true)
    }
}

fn write(folder: &Path, entries: &[Entry]) -> Result<(), Failed> {
    for entry in entries {
        let path = folder.join(&entry.name);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, &entry.content)?;
    }
    Ok(())
}

fn archives_that_are_verified(desk: &Desk) -> Result<(), Failed> {
    let corner = desk.corner()?;
    let mut programs = BTreeMap::<&str, usize>::new();
    for polyglot in desk.pair.harmless() {
        fs::write(desk.path("it.tar"), archive(&[&polyglot.entries[..], &corner].concat()))?;
        assert!(desk.judge(&polyglot.name, &["docker-archive"])?, "{}", polyglot.name);
        for (program, _) in desk.taken_from_archive(&desk.path("it.tar"))? {
            *programs.entry(program).or_default() += 1;
        }
    }
    // Make sure that each of them takes something, so that the comparison is not empty.
    for program in ["docker", "skopeo", "podman", "crane"] {
        assert!(programs.get(program).is_some_and(|count| *count >= 5), "{program}: {programs:?}");
    }
    let both = [&desk.layout()?[..], &desk.pair.plain(), &corner].concat();
    fs::write(desk.path("it.tar"), archive(&both))?;
    for prefix in ["oci", "oci-archive", "docker-archive"] {
        assert!(desk.judge("both forms", &[prefix])?);
    }
    Ok(())
}

fn archives_that_deceive(desk: &Desk) -> Result<(), Failed> {
    let corner = desk.corner()?;
    let layout = desk.layout()?;
    let mut deceived = BTreeMap::<&str, Vec<String>>::new();
    for polyglot in desk
        .pair
        .deceptive()
        .into_iter()
        .chain(desk.pair.of_two_forms(&layout))
        .chain(desk.pair.of_two_ways(&layout))
    {
        fs::write(desk.path("it.tar"), archive(&[&polyglot.entries[..], &corner].concat()))?;
        let is_verified = desk.judge(&polyglot.name, &["oci", "docker-archive", "oci-archive"])?;
        assert!(!is_verified, "{}", polyglot.name);
        // podman creates a storage for each, which takes a while, and reads like skopeo.
        for (program, taken) in desk.programs.fast_load_docker_archive(
            &desk.path("it.tar"),
            &desk.pair.reference,
            desk.folder.path(),
        )? {
            if desk.name_of(&taken) != Some("good") {
                deceived.entry(program).or_default().push(polyglot.name.clone());
            }
        }
    }
    let packed = desk.pair.compressed(&corner)?;
    let mut inside = Vec::new();
    for (name, bytes) in packed {
        fs::write(desk.path("it.tar"), bytes)?;
        let is_verified = desk.judge(name, &["oci", "docker-archive", "oci-archive"])?;
        assert!(!is_verified, "{name}");
        for (program, taken) in desk.taken_from_archive(&desk.path("it.tar"))? {
            if desk.name_of(&taken) == Some("evil") {
                inside.push((name, program));
            }
        }
    }
    // Newer engines skip zstd's frames as well.
    assert!(inside.contains(&("gzip", "docker")), "{inside:?}");
    // The refusals are justified: each of them takes the other image from some.
    for program in ["docker", "skopeo", "crane"] {
        assert!(deceived.get(program).is_some_and(|names| names.len() >= 5), "{program}: {deceived:?}");
    }
    Ok(())
}

/// How many mutants are verified, and for how many verified ones the other programs are asked.
const MUTANTS: (usize, usize) = (400, 40);

fn mutants_of_an_archive(desk: &Desk) -> Result<(), Failed> {
    let corner = desk.corner()?;
    let evil_list = serde_json::json!([desk.pair.evil.saved(&desk.pair.reference)]).to_string();
    let base = [&desk.pair.plain()[..], &[Entry::file("evil.list", evil_list.as_bytes())], &corner].concat();
    let mut course = Course::new(11);
    let mut verified = 0;
    for number in 0..MUTANTS.0 {
        let mut entries = base.clone();
        for _ in 0..=course.below(2) {
            mutate(&mut entries, &mut course);
        }
        let mut bytes = archive(&entries);
        if course.below(3) == 0 {
            reshape(&mut bytes, &mut course);
        }
        fs::write(desk.path("it.tar"), &bytes)?;
        if verified < MUTANTS.1 && desk.judge(&format!("mutant {number}"), &["oci"])? {
            verified += 1;
        }
    }
    assert!(verified >= 5, "{verified}");
    Ok(())
}

/// Changes a member, its place or its name.
fn mutate(entries: &mut Vec<Entry>, course: &mut Course) {
    let (one, other) = (course.below(entries.len()), course.below(entries.len()));
    let name = entries[other].name.clone();
    match course.below(10) {
        0 => entries.swap(one, other),
        1 => entries[one].name = format!("./{}", entries[one].name),
        2 => entries[one].name = name,
        3 => entries[one].long_name = Some(name),
        4 => entries[one] = entries[one].clone().with_record("path", &name),
        5 => entries[one].kind = [b'0', 0, b'1', b'2', b'5', b'7', b'S', b'g', b'x', b'Z'][course.below(10)],
        6 => entries[one].link = name,
        7 => {
            let copy = entries[one].clone();
            entries.insert(other, copy);
        }
        8 => {
            let link = Entry::link(&entries[one].name, &name, course.below(2) == 0);
            entries[one] = link;
        }
        _ => entries[one] = entries[one].clone().with_record("comment", &name),
    }
}

/// Changes a field of a header and corrects its checksum.
fn reshape(bytes: &mut [u8], course: &mut Course) {
    let blocks: Vec<usize> =
        (0..bytes.len() / 512).filter(|n| bytes[n * 512 + 257..].starts_with(b"ustar")).collect();
    let Some(start) = blocks.get(course.below(blocks.len().max(1))).map(|n| n * 512) else { return };
    let block = &mut bytes[start..start + 512];
    match course.below(6) {
        0 => block[257..265].copy_from_slice(b"ustar  \0"),
        1 => block[257..265].fill(0),
        2 => block[345..349].copy_from_slice(b"evil"),
        3 => block[124..136].copy_from_slice(b"00000000000\0"),
        4 => block[156] = b"0127SgxLK5"[course.below(10)],
        _ => block[508..512].copy_from_slice(b"tar\0"),
    }
    set_checksum(block);
}

fn layouts(desk: &Desk) -> Result<(), Failed> {
    desk.layout()?;
    let path = desk.path("layout");
    let index: Value = serde_json::from_slice(&fs::read(path.join("index.json"))?)?;
    let bundles: Vec<Value> = index["manifests"].as_array().ok_or("entries")?[1..].to_vec();
    let good = Sha256Digest::of(&desk.pair.good.manifest());
    let taken = || desk.programs.load_layout(&path, "1", desk.folder.path());
    assert_eq!(desk.verified("oci:layout:1", &[]), Some(good));
    let found = taken()?;
    assert!(found.len() >= 2, "{found:?}");
    for (program, taken) in found {
        assert_eq!(desk.name_of(&taken), Some("good"), "{program}");
    }
    let mut deceived = BTreeMap::<&str, usize>::new();
    for (name, text) in desk.pair.indexes(&bundles) {
        fs::write(path.join("index.json"), text)?;
        let is_verified = desk.verified("oci:layout:1", &[]).is_some();
        for (program, taken) in taken()? {
            if desk.name_of(&taken) != Some("good") {
                assert!(!is_verified, "{name}: {program} takes another image");
                *deceived.entry(program).or_default() += 1;
            }
        }
    }
    for program in ["skopeo", "oras"] {
        assert!(deceived.get(program).is_some_and(|count| *count >= 3), "{deceived:?}");
    }
    Ok(())
}

/// An index in a registry with two images for platforms that programs order differently.
fn platforms(desk: &Desk) -> Result<(), Failed> {
    let platforms = [
        "linux/arm64",
        "linux/arm64/v8",
        "linux/arm",
        "linux/arm/v5",
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/amd64",
        "linux/amd64/v3",
        "linux/386",
        "-",
    ];
    let repository = format!("{}/{}", desk.programs.registry, desk.pair.reference.trim_end_matches(":1"));
    let mut images = BTreeMap::new();
    for image in [&desk.pair.good, &desk.pair.evil] {
        let list = serde_json::json!([image.saved("app:1")]).to_string();
        let files = [
            Entry::file("manifest.json", list.as_bytes()),
            Entry::file(&format!("{}.json", image.name), &image.config),
            Entry::file(&format!("{}/layer.tar", image.name), &image.layer),
        ];
        fs::write(desk.path("it.tar"), archive(&files))?;
        let reference = format!("{repository}:{}", image.name);
        desk.programs.push(&desk.path("it.tar"), &reference)?;
        images.insert(image.name, desk.programs.manifest(&reference)?);
        // Whichever is chosen is signed: only the choice matters.
        desk.sign(&["image", &reference, "--key", "release.key"]);
    }
    let of_config: Vec<_> = [&desk.pair.good, &desk.pair.evil]
        .into_iter()
        .map(|image| (image.id(), images[image.name].digest))
        .collect();
    let (mut agreed, mut refused) = (0, 0);
    let mut engines = BTreeMap::<&str, usize>::new();
    for first in platforms {
        for second in platforms {
            desk.programs.push_index(
                &repository,
                "both",
                &[(&images["good"], first), (&images["evil"], second)],
            )?;
            for asked in [
                "linux/arm64",
                "linux/arm64/v8",
                "linux/arm",
                "linux/arm/v7",
                "linux/amd64",
                "linux/amd64/v3",
            ] {
                let reference = format!("{repository}:both");
                let Some(digest) = desk.verified(&reference, &["--platform", asked]) else {
                    refused += 1;
                    continue;
                };
                agreed += 1;
                // The engines take a while, so only every fourth is tried with them.
                if agreed % 4 == 0 {
                    for (program, taken) in
                        desk.programs.pulled_for_platform(&reference, asked, &of_config)?
                    {
                        assert_eq!(
                            taken, digest,
                            "[{first}, {second}] for {asked}: {program} takes another image"
                        );
                        *engines.entry(program).or_default() += 1;
                    }
                }
                for (program, taken) in desk.programs.for_platform(&reference, asked)? {
                    assert_eq!(
                        taken, digest,
                        "[{first}, {second}] for {asked}: {program} takes another image"
                    );
                }
            }
        }
    }
    assert!(agreed > 50 && refused > 50, "{agreed} {refused}");
    assert!(engines.get("docker").is_some_and(|count| *count >= 10), "{engines:?}");
    Ok(())
}
