//! Archives, layouts and documents that are one image to one program and another to the next.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;

use lifeboat_tests::archive::{Entry, archive, entries_of};
use lifeboat_tests::command::run;
use lifeboat_tests::http::{Answer, serve};
use lifeboat_tests::polyglot::{Pair, Polyglot};
use serde_json::{Value, json};

use super::Desk;

const REFERENCE: &str = "app:1";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn write(folder: &Path, entries: &[Entry]) {
    for entry in entries {
        let path = folder.join(&entry.name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &entry.content).unwrap();
    }
}

/// The pair, and what signing the good image adds to an archive in Docker's form.
fn signed_archive(desk: &Desk) -> (Pair, Vec<Entry>) {
    let pair = Pair::new(REFERENCE);
    fs::write(desk.path("it.tar"), archive(&pair.plain())).unwrap();
    desk.sign(&["image", "docker-archive:it.tar:1", "--key", "release.key"]).expect_code(0);
    run(Command::new("tar").args(["-xf", "it.tar", "lifeboat"]).current_dir(&desk.folder)).expect_code(0);
    let corner = entries_of(&desk.path("lifeboat"), "lifeboat/");
    assert_eq!(corner.len(), 4);
    (pair, corner)
}

/// The files of a layout with the good image signed.
fn signed_layout(desk: &Desk, pair: &Pair) -> Vec<Entry> {
    write(&desk.path("layout"), &pair.layout());
    desk.sign(&["image", "oci:layout:1", "--key", "release.key"]).expect_code(0);
    entries_of(&desk.path("layout"), "")
}

/// The exit code of a verification of the archive, with each prefix.
fn codes(desk: &Desk, polyglot: &Polyglot, more: &[Entry], prefixes: &[&str]) -> Vec<Option<i32>> {
    fs::write(desk.path("it.tar"), archive(&[&polyglot.entries, more].concat())).unwrap();
    let verify =
        |prefix: &&str| desk.verify(&["image", &format!("{prefix}:it.tar:1"), "--key", "release.pub"]).code;
    prefixes.iter().map(verify).collect()
}

#[test]
fn an_archive_that_another_program_reads_as_another_image_is_refused() {
    let desk = Desk::new();
    let (pair, corner) = signed_archive(&desk);
    for polyglot in pair.harmless() {
        let codes = codes(&desk, &polyglot, &corner, &["oci", "docker-archive"]);
        assert_eq!(codes, [Some(0); 2], "{}", polyglot.name);
    }
    let all = pair.deceptive();
    assert!(all.len() > 150);
    for polyglot in all {
        let codes = codes(&desk, &polyglot, &corner, &["oci", "docker-archive"]);
        assert!(codes.iter().all(|code| matches!(code, Some(1 | 2))), "{}: {codes:?}", polyglot.name);
    }
}

#[test]
fn an_archive_of_two_forms_holds_one_image_or_is_refused() {
    let desk = Desk::new();
    let (pair, corner) = signed_archive(&desk);
    let layout = signed_layout(&desk, &pair);
    let all = [&layout[..], &pair.plain(), &corner].concat();
    let honest = Polyglot { name: "both of the good image".to_owned(), entries: all };
    let prefixes = ["oci", "oci-archive", "docker-archive"];
    assert_eq!(codes(&desk, &honest, &[], &prefixes), [Some(0); 3]);
    for polyglot in pair.of_two_forms(&layout).into_iter().chain(pair.of_two_ways(&layout)) {
        let codes = codes(&desk, &polyglot, &corner, &prefixes);
        assert!(codes.iter().all(|code| matches!(code, Some(1 | 2))), "{}: {codes:?}", polyglot.name);
    }
    // Each form is read with its own prefix.
    let saved = Polyglot { name: String::new(), entries: pair.plain() };
    assert_eq!(codes(&desk, &saved, &corner, &prefixes), [Some(0), Some(2), Some(0)]);
    let layout = Polyglot { name: String::new(), entries: layout };
    assert_eq!(codes(&desk, &layout, &[], &prefixes), [Some(0), Some(0), Some(2)]);
}

#[test]
fn a_layout_whose_index_reads_in_two_ways_is_refused() {
    let desk = Desk::new();
    let pair = Pair::new(REFERENCE);
    signed_layout(&desk, &pair);
    let index = fs::read_to_string(desk.path("layout/index.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    let bundles = &index["manifests"].as_array().unwrap()[1..];
    let verify = || desk.verify(&["image", "oci:layout:1", "--key", "release.pub"]);
    verify().expect_code(0);
    for (name, text) in pair.indexes(bundles) {
        fs::write(desk.path("layout/index.json"), text).unwrap();
        let code = verify().code;
        assert!(matches!(code, Some(1 | 2)), "{name}: {code:?}");
    }
    fs::write(desk.path("layout/index.json"), index.to_string()).unwrap();
    verify().expect_code(0);
    // A folder that is also an image in the form `dir:`; the remains of an archive are not.
    fs::write(desk.path("layout/manifest.json"), pair.evil.manifest()).unwrap();
    let said = verify().expect_code(1);
    assert!(said.stderr.contains("makes it an image of the form `dir:` at once"), "{}", said.stderr);
    fs::write(desk.path("layout/manifest.json"), "[]").unwrap();
    verify().expect_code(0);
}

#[test]
fn what_others_put_beside_a_signature_does_not_hide_it() {
    let desk = Desk::new();
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    let subject = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image.to_oci(), "size": 1});
    let twice = format!(r#"{{"schemaVersion":2,"layers":[],"Layers":[],"subject":{subject}}}"#);
    let many =
        format!(r#"{{"schemaVersion":2,"layers":[],"subject":{subject},"x":[{}0]}}"#, "0,".repeat(100_000));
    let mut junk: Vec<Value> = ["no JSON", "[]", "{", &twice, &many]
        .iter()
        .map(|text| {
            let digest = layout.blob(text.as_bytes());
            json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_oci(), "size": text.len()})
        })
        .collect();
    junk.push(json!({"mediaType": "a/b", "digest": format!("sha256:{}", "0".repeat(64)), "size": 1}));
    junk.push(json!({"mediaType": "a/b", "digest": format!("sha512:{}", "0".repeat(128)), "size": 1}));
    let mut index = layout.index();
    let entries = index["manifests"].as_array_mut().unwrap();
    entries.splice(1..1, junk);
    fs::write(desk.path("app/index.json"), index.to_string()).unwrap();
    for number in 0..20 {
        let content = format!("junk {number}");
        layout.referrer(image, "application/vnd.dev.sigstore.bundle.v0.3+json", content.as_bytes());
        layout.referrer(image, "application/spdx+json", content.as_bytes());
    }
    desk.verify(&["image", "oci:app:1.0", "--key", "release.pub"]).expect_code(0);
}

#[test]
fn a_list_of_referrers_that_cannot_be_read_hides_nothing_elsewhere() {
    let desk = Desk::new();
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key", "--format", "both"]).expect_code(0);
    let index = layout.index();
    let entry_of = |tag: &str| {
        let name = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == *tag;
        index["manifests"].as_array().unwrap().iter().find(name).unwrap().clone()
    };
    let (bundle, _) = layout.referrers(image).pop().unwrap();
    let legacy = entry_of(&format!("sha256-{image}.sig"))["digest"].as_str().unwrap()[7..].to_owned();
    let listed = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": bundle.to_oci(), "size": 1},
    ]});
    let folder = desk.path("app/blobs/sha256");
    let at = |api: Answer, fallback: Answer, has_legacy: bool| {
        let (folder, legacy) = (folder.clone(), legacy.clone());
        let image = image.to_string();
        let address = serve(move |_, path| {
            let file = |name: &str, kind: &str| match fs::read(folder.join(name)) {
                Ok(bytes) => Answer::new(200, bytes).header("Content-Type", kind),
                Err(_) => Answer::new(404, ""),
            };
            let name = path.rsplit('/').next().unwrap();
            match name {
                "1.0" => file(&image, MANIFEST),
                _ if path.contains("/referrers/") => api.clone(),
                _ if name == format!("sha256-{image}") => fallback.clone(),
                _ if has_legacy && name == format!("sha256-{image}.sig") => file(&legacy, MANIFEST),
                _ => name.strip_prefix("sha256:").map_or(Answer::new(404, ""), |hash| file(hash, MANIFEST)),
            }
        });
        desk.verify(&["image", &format!("{address}/app:1.0"), "--key", "release.pub"]).code
    };
    let none = || Answer::new(404, "");
    let html: fn() -> Answer = || Answer::new(200, "<html>").header("Content-Type", "text/html");
    let list = || Answer::new(200, listed.to_string()).header("Content-Type", INDEX);
    let itself = || {
        Answer::new(200, fs::read(folder.join(image.to_string())).unwrap()).header("Content-Type", MANIFEST)
    };
    let twice = || Answer::new(200, r#"{"manifests":[],"Manifests":[]}"#).header("Content-Type", INDEX);
    assert_eq!(at(list(), none(), false), Some(0));
    assert_eq!(at(none(), list(), false), Some(0));
    for broken in [html, || Answer::new(406, ""), || Answer::new(500, "")] {
        assert_eq!(at(broken(), list(), false), Some(0));
        assert_eq!(at(broken(), none(), true), Some(0));
        assert_ne!(at(broken(), none(), false), Some(0));
    }
    for broken in [&html as &dyn Fn() -> Answer, &itself, &twice] {
        assert_eq!(at(list(), broken(), false), Some(0));
        assert_eq!(at(none(), broken(), true), Some(0));
        assert_ne!(at(none(), broken(), false), Some(0));
    }
}

#[test]
fn a_signed_manifest_is_no_config_of_an_archive() {
    let desk = Desk::new();
    let pair = Pair::new(REFERENCE);
    // A manifest with meaningless members, which somebody who signs what others built might sign.
    let mut manifest: Value = serde_json::from_slice(&pair.good.manifest()).unwrap();
    let evil: Value = serde_json::from_slice(&pair.evil.config).unwrap();
    for member in ["rootfs", "architecture", "os"] {
        manifest[member] = evil[member].clone();
    }
    let layout = desk.layout();
    layout.blob(&pair.good.config);
    layout.blob(&pair.good.layer);
    let digest = layout.manifest(&manifest, Some("1"));
    let said = desk.sign(&["image", "oci:app:1", "--key", "release.key"]).expect_code(1);
    assert!(said.stderr.contains("the configuration of an image at once"), "{}", said.stderr);
    // As if another tool had signed it.
    let plain = layout.manifest(&json!({"schemaVersion": 2, "layers": []}), Some("2"));
    desk.sign(&["image", "oci:app:2", "--key", "release.key"]).expect_code(0);
    let list = json!([{"Config": "c.json", "RepoTags": [REFERENCE], "Layers": ["evil/layer.tar"]}]);
    let bytes = fs::read(layout.blob_path(digest)).unwrap();
    let entries = [
        Entry::file("manifest.json", list.to_string().as_bytes()),
        Entry::file("c.json", &bytes),
        Entry::file("evil/layer.tar", &pair.evil.layer),
    ];
    fs::write(desk.path("it.tar"), archive(&entries)).unwrap();
    let said = desk.verify(&["image", "oci:it.tar:1", "--key", "release.pub"]).expect_code(1);
    assert!(
        said.stderr.contains("it.tar is ambiguous: the config of its image is a manifest at once"),
        "{}",
        said.stderr
    );
    assert_ne!(digest, plain);
}

#[test]
fn an_image_for_a_platform_is_the_one_that_every_program_pulls() {
    let desk = Desk::new();
    let layout = desk.layout();
    let (good, evil) = (layout.image("good", "good"), layout.image("evil", "evil"));
    desk.sign(&["image", "oci:app:good", "--key", "release.key"]).expect_code(0);
    let size = |digest| fs::read(layout.blob_path(digest)).unwrap().len();
    let child = |digest: lifeboat_core::Sha256Digest, platform: Value| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_oci(),
               "size": size(digest), "platform": platform})
    };
    let arm64 = json!({"os": "linux", "architecture": "arm64"});
    let arm64_v8 = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    let arm = |variant: &str| json!({"os": "linux", "architecture": "arm", "variant": variant});
    let verify = |children: &[Value], platform: &str| {
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children});
        layout.manifest(&index, Some("1"));
        desk.verify(&["image", "oci:app:1", "--platform", platform, "--key", "release.pub"])
    };
    verify(&[child(good, arm64.clone())], "linux/arm64").expect_code(0);
    verify(&[child(good, arm("v7")), child(evil, arm("v5"))], "linux/arm").expect_code(0);
    for (children, platform) in [
        (vec![child(evil, arm64_v8.clone()), child(good, arm64.clone())], "linux/arm64"),
        (vec![child(good, arm64.clone()), child(evil, arm64_v8)], "linux/arm64"),
        (vec![child(good, arm64.clone()), child(evil, arm64.clone())], "linux/arm64"),
        (vec![child(evil, arm("v5")), child(good, arm("v7"))], "linux/arm"),
    ] {
        let said = verify(&children, platform).expect_code(1);
        for digest in [good, evil] {
            assert!(said.stderr.contains(&digest.to_oci()), "{}", said.stderr);
        }
    }
    let absent = verify(&[child(good, arm64)], "linux/riscv64").expect_code(2);
    assert!(absent.stderr.contains("give one of linux/arm64"), "{}", absent.stderr);
}
