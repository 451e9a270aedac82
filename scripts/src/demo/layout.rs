//! The story's image as an OCI layout on disk, written the way a build tool writes one.

use std::fs;

use super::call::Call;
use super::image::{FORGED, GREETING, write_greeting};
use super::narrator::Narrator;
use super::sbom::sha256;
use super::work::Work;
use crate::problem::Problem;

/// The layout's folder, and the image's tag in it.
const FOLDER: &str = "layout";
const TAG: &str = "1.0";

pub(super) struct Layout<'a> {
    narrator: &'a Narrator<'a>,
    work: &'a Work,
}

/// A blob in the layout.
struct Blob {
    hash: String,
    bytes: u64,
}

impl<'a> Layout<'a> {
    pub(super) fn new(narrator: &'a Narrator<'a>, work: &'a Work) -> Self {
        Self { narrator, work }
    }

    pub(super) fn reference() -> String {
        format!("oci:{FOLDER}:{TAG}")
    }

    pub(super) fn build(&self) -> Result<(), Problem> {
        self.work.make_dir(&format!("{FOLDER}/blobs/sha256"))?;
        let manifest = self.write_image(GREETING)?;
        self.work.write(&format!("{FOLDER}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"{TAG}"}}}}]}}"#,
            manifest.hash, manifest.bytes
        );
        self.work.write(&format!("{FOLDER}/index.json"), &index)?;
        self.work.write("image-digest", &manifest.hash)?;
        self.narrator.run(self.work, &Call::new(&format!("find {FOLDER} -type f"))).map(drop)
    }

    /// Points the tag at another image. Both manifests have the same length, so only the digest changes.
    pub(super) fn tamper(&self) -> Result<(), Problem> {
        let signed = self.work.read("image-digest")?;
        let forged = self.write_image(FORGED)?.hash;
        self.narrator.run(self.work, &Call::new("cat image/bin/greet"))?;
        let line = format!("sed -i s/{}/{}/ {FOLDER}/index.json", &signed, &forged);
        self.narrator.run(self.work, &Call::script(&line)).map(drop)
    }

    fn write_image(&self, greeting: &str) -> Result<Blob, Problem> {
        write_greeting(self.work, greeting)?;
        let pack = "tar -C image --sort=name --owner=0 --group=0 --mtime=@0 -cf layer.tar .";
        self.narrator.run(self.work, &Call::new(pack))?;
        let layer = self.store("layer.tar")?;
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        self.work.write(
            "config.json",
            &format!(
                r#"{{"architecture":"{architecture}","os":"linux","config":{{"Cmd":["/bin/greet"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}}}}"#,
                layer.hash
            ),
        )?;
        let config = self.store("config.json")?;
        self.work.write(
            "manifest.json",
            &format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{}","size":{}}}]}}"#,
                config.hash, config.bytes, layer.hash, layer.bytes
            ),
        )?;
        self.store("manifest.json")
    }

    /// Copies a file into the layout, under its hash.
    fn store(&self, name: &str) -> Result<Blob, Problem> {
        let path = self.work.path(name);
        let hash = sha256(&path)?;
        let blob = self.work.path(&format!("{FOLDER}/blobs/sha256/{hash}"));
        let bytes = fs::copy(&path, &blob).map_err(|error| Problem::io("cannot write", &blob, &error))?;
        Ok(Blob { hash, bytes })
    }
}
