//! Archives as older engines save them, with layers that are links to the same layer of another image.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::run;
use lifeboat_tests::polyglot::packed;
use serde_json::json;

use super::{Desk, told};

/// Two images, `app:1` and `app:2`, with the same two layers; the second's are links to the first's.
fn saved(desk: &Desk) -> PathBuf {
    let folder = desk.path("saved");
    let layers = ["base", "program"];
    let mut manifest = Vec::new();
    for tag in ["1", "2"] {
        let digests: Vec<String> =
            layers.iter().map(|layer| Sha256Digest::of(layer.as_bytes()).to_oci()).collect();
        let config = json!({"tag": tag, "rootfs": {"type": "layers", "diff_ids": digests}}).to_string();
        let name = format!("{}.json", Sha256Digest::of(config.as_bytes()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(&name), config).unwrap();
        for layer in layers {
            let place = folder.join(format!("{layer}-{tag}"));
            fs::create_dir_all(&place).unwrap();
            if tag == "1" {
                fs::write(place.join("layer.tar"), layer).unwrap();
            } else {
                symlink(format!("../{layer}-1/layer.tar"), place.join("layer.tar")).unwrap();
            }
        }
        let layers: Vec<String> = layers.iter().map(|layer| format!("{layer}-{tag}/layer.tar")).collect();
        manifest.push(json!({"Config": name, "RepoTags": [format!("app:{tag}")], "Layers": layers}));
    }
    fs::write(folder.join("manifest.json"), json!(manifest).to_string()).unwrap();
    folder
}

fn pack(desk: &Desk) {
    run(Command::new("tar").args(["-C", "saved", "-cf", "app.tar", "."]).current_dir(desk.path("")))
        .expect_code(0);
}

#[test]
fn an_image_whose_layers_are_links_is_signed_and_verified() {
    let desk = Desk::new();
    saved(&desk);
    pack(&desk);
    desk.sign(&["image", "oci:app.tar:2", "--key", "release.key"]).expect_code(0);
    // The archive was rewritten, including its links.
    desk.verify(&["image", "oci:app.tar:2", "--key", "release.pub"]).expect_code(0);
    desk.verify(&["image", "oci:app.tar:2", "--key", "other.pub"]).expect_code(1);
    desk.verify(&["image", "oci:app.tar:1", "--key", "release.pub"]).expect_code(1);
}

#[test]
fn links_that_lead_elsewhere_are_refused_before_anything_is_signed() {
    let desk = Desk::new();
    let folder = saved(&desk);
    fs::write(desk.path("outside"), "program").unwrap();
    let layer = folder.join("program-2/layer.tar");
    let outside = desk.path("outside").display().to_string();
    for target in ["../base-1/layer.tar", "../../outside", &outside, "layer.tar", "../absent"] {
        fs::remove_file(&layer).unwrap();
        symlink(target, &layer).unwrap();
        pack(&desk);
        let before = fs::read(desk.path("app.tar")).unwrap();
        desk.sign(&["image", "oci:app.tar:2", "--key", "release.key"]).expect_code(1);
        assert_eq!(fs::read(desk.path("app.tar")).unwrap(), before);
        desk.verify(&["image", "oci:app.tar:2", "--key", "release.pub"]).expect_code(1);
        // What does not depend on the link is not affected.
        desk.sign(&["image", "oci:app.tar:1", "--key", "release.key"]).expect_code(0);
        desk.verify(&["image", "oci:app.tar:1", "--key", "release.pub"]).expect_code(0);
    }
    let said = desk.verify(&["image", "oci:app.tar:2", "--key", "release.pub"]).expect_code(1);
    insta::assert_snapshot!(told(&said.stderr), @r"
    error: app.tar is malformed: `program-2/layer.tar` is a link to what the archive does not hold
      help: do not use it; compare with another copy, and tell the operator of the registry
    ");
    fs::remove_file(&layer).unwrap();
    pack(&desk);
    let said = desk.verify(&["image", "oci:app.tar:2", "--key", "release.pub"]).expect_code(1);
    insta::assert_snapshot!(told(&said.stderr), @r"
    error: app.tar is malformed: it does not hold `program-2/layer.tar`
      help: do not use it; compare with another copy, and tell the operator of the registry
    ");
}

#[test]
fn an_image_whose_layers_are_packed_is_signed_and_verified_by_what_they_unpack_to() {
    let desk = Desk::new();
    let folder = saved(&desk);
    let layer = folder.join("base-1/layer.tar");
    fs::write(&layer, packed(b"base").unwrap()).unwrap();
    pack(&desk);
    // A program that checks only one layer would compress the others again.
    let said = desk.sign(&["image", "oci:app.tar:2", "--key", "release.key"]).expect_code(1);
    assert!(said.stderr.contains("some of its layers are packed, and some are not"), "{said:?}");
    fs::write(folder.join("program-1/layer.tar"), packed(b"program").unwrap()).unwrap();
    pack(&desk);
    desk.sign(&["image", "oci:app.tar:2", "--key", "release.key"]).expect_code(0);
    desk.verify(&["image", "oci:app.tar:2", "--key", "release.pub"]).expect_code(0);
    run(Command::new("tar").args(["-C", "saved", "-xf", "app.tar", "lifeboat"]).current_dir(desk.path("")))
        .expect_code(0);
    for (bytes, said) in [
        (packed(b"evil").unwrap(), "damaged or exchanged"),
        (packed(b"base").unwrap()[..20].to_vec(), "cannot be unpacked"),
        ([packed(b"base").unwrap(), b"more".to_vec()].concat(), "cannot be unpacked"),
        ([packed(b"ba").unwrap(), packed(b"se").unwrap()].concat(), "VERIFIED"),
    ] {
        fs::write(&layer, bytes).unwrap();
        pack(&desk);
        let found = desk.verify(&["image", "oci:app.tar:2", "--key", "release.pub"]);
        assert_eq!(found.code == Some(0), said == "VERIFIED", "{found:?}");
        assert!(format!("{}{}", found.stdout, found.stderr).contains(said), "{said}: {found:?}");
    }
}
