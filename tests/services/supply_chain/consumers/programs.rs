//! The programs that take images, and which image each takes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::{Output, run};
use serde_json::{Value, json};

/// The socket of Docker's containerd.
const CONTAINERD: &str = "/var/run/docker/containerd/containerd.sock";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The path of each program, and a writable registry.
pub(super) struct Programs {
    pub(super) registry: String,
    pub(super) crane: String,
    pub(super) oras: String,
    pub(super) skopeo: String,
    pub(super) podman: String,
    /// Whether containerd is available.
    pub(super) containerd: bool,
}

/// Whether containerd and its client are available. It comes with Docker, but not everywhere.
pub(super) fn containerd() -> bool {
    let version = Command::new("ctr").args(["-a", CONTAINERD, "version"]).output();
    version.is_ok_and(|output| output.status.success())
}

/// An image that a program took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) config: Sha256Digest,
    /// The digests of its layers, unpacked.
    pub(super) layers: Vec<Sha256Digest>,
}

type Answers = Vec<(&'static str, Taken)>;

fn done(said: &Output) -> bool {
    said.code == Some(0)
}

fn call(program: &str, args: &[&str], folder: &Path) -> Output {
    run(Command::new(program).args(args).current_dir(folder).env("HOME", folder))
}

/// The bytes, unpacked if they are compressed.
fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>, Failed> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut child = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or("an input")?;
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let mut plain = Vec::new();
    child.stdout.take().ok_or("an output")?.read_to_end(&mut plain)?;
    writer.join().map_err(|_| "a writer")??;
    child.wait()?;
    Ok(plain)
}

/// The image that skopeo wrote to a folder in the form `dir:`.
fn taken_in(folder: &Path) -> Result<Taken, Failed> {
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json"))?)?;
    let blob = |descriptor: &Value| -> Result<Vec<u8>, Failed> {
        let digest = descriptor["digest"].as_str().ok_or("a digest")?;
        Ok(fs::read(folder.join(digest.trim_start_matches("sha256:")))?)
    };
    let layers = manifest["layers"].as_array().ok_or("layers")?;
    let layers = layers.iter().map(|layer| Ok(Sha256Digest::of(&unpacked(blob(layer)?)?)));
    Ok(Taken {
        config: Sha256Digest::of(&blob(&manifest["config"])?),
        layers: layers.collect::<Result<_, Failed>>()?,
    })
}

impl Programs {
    /// The images that the programs take from an archive in Docker's form, by the name under which its image was saved.
    pub(super) fn load_docker_archive(
        &self,
        file: &Path,
        reference: &str,
        folder: &Path,
    ) -> Result<Answers, Failed> {
        let mut answers = self.fast_load_docker_archive(file, reference, folder)?;
        answers.extend(
            self.podman(&["load", "-i", &file.display().to_string()], reference, folder)?
                .map(|t| ("podman", t)),
        );
        if self.containerd {
            answers
                .extend(Self::containerd_import(file, reference, folder)?.map(|taken| ("containerd", taken)));
        }
        Ok(answers)
    }

    /// The same for the quick programs only.
    pub(super) fn fast_load_docker_archive(
        &self,
        file: &Path,
        reference: &str,
        folder: &Path,
    ) -> Result<Answers, Failed> {
        let mut answers = Vec::new();
        answers.extend(docker_load(file, reference, folder)?.map(|taken| ("docker", taken)));
        let source = format!("docker-archive:{}:{reference}", file.display());
        answers.extend(self.skopeo(&[], &source, folder)?.map(|taken| ("skopeo", taken)));
        let source =
            format!("oci-archive:{}:{}", file.display(), reference.rsplit(':').next().unwrap_or_default());
        answers.extend(self.skopeo(&[], &source, folder)?.map(|taken| ("skopeo", taken)));
        let pushed = format!("{}/{reference}", self.registry);
        if done(&call(&self.crane, &["push", "--insecure", &file.display().to_string(), &pushed], folder)) {
            answers.extend(
                self.skopeo(&[], &format!("docker://{pushed}"), folder)?.map(|taken| ("crane", taken)),
            );
        }
        Ok(answers)
    }

    /// The images that the programs take from a layout in a folder.
    pub(super) fn load_layout(&self, layout: &Path, tag: &str, folder: &Path) -> Result<Answers, Failed> {
        let mut answers = Vec::new();
        let source = format!("oci:{}:{tag}", layout.display());
        answers.extend(self.skopeo(&[], &source, folder)?.map(|taken| ("skopeo", taken)));
        // podman names the image after the folder, which must be lower-case.
        let link = std::env::temp_dir().join(format!("{}-layout", namespace(folder).to_lowercase()));
        symlink(layout, &link)?;
        let linked = format!("oci:{}:{tag}", link.display());
        let pulled = self.podman(&["pull", &linked], "", folder);
        fs::remove_file(&link)?;
        answers.extend(pulled?.map(|taken| ("podman", taken)));
        let named = format!("{}:{tag}", layout.display());
        let said = call(&self.oras, &["manifest", "fetch", "--oci-layout", &named], folder);
        if done(&said) {
            let manifest: Value = serde_json::from_str(&said.stdout)?;
            answers.push(("oras", by_manifest(&manifest)?));
        }
        let pushed = format!("{}/lifeboat-test/layout:{tag}", self.registry);
        if done(&call(&self.crane, &["push", "--insecure", &layout.display().to_string(), &pushed], folder)) {
            answers.extend(
                self.skopeo(&[], &format!("docker://{pushed}"), folder)?.map(|taken| ("crane", taken)),
            );
        }
        Ok(answers)
    }

    fn skopeo(&self, flags: &[&str], source: &str, folder: &Path) -> Result<Option<Taken>, Failed> {
        Ok(if self.skopeo_copy(flags, source, folder)? {
            Some(taken_in(&folder.join("taken"))?)
        } else {
            None
        })
    }

    fn skopeo_copy(&self, flags: &[&str], source: &str, folder: &Path) -> Result<bool, Failed> {
        let target = folder.join("taken");
        if target.exists() {
            fs::remove_dir_all(&target)?;
        }
        let target = format!("dir:{}", target.display());
        let copy = ["--insecure-policy", "copy", "--src-tls-verify=false", source, &target];
        let said = call(&self.skopeo, &[flags, &copy].concat(), folder);
        Ok(done(&said))
    }

    /// The image that podman has after a load or a pull into an empty storage.
    fn podman(&self, verb: &[&str], reference: &str, folder: &Path) -> Result<Option<Taken>, Failed> {
        let storage = tempfile::tempdir_in(folder)?;
        let (root, run_root) = (storage.path().join("root"), storage.path().join("run"));
        let (root, run_root) = (root.display().to_string(), run_root.display().to_string());
        let podman = |args: &[&str]| {
            let storage = [
                "--root",
                &root,
                "--runroot",
                &run_root,
                "--storage-driver",
                "vfs",
                "--cgroup-manager",
                "cgroupfs",
            ];
            call(&self.podman, &[&storage[..], args].concat(), folder)
        };
        if !done(&podman(verb)) {
            return Ok(None);
        }
        let listed = podman(&["images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"]);
        let mut ids = listed.stdout.lines().filter(|line| line.ends_with(reference));
        let Some(id) = ids.next().and_then(|line| line.split(' ').next()) else { return Ok(None) };
        // The layers that it stored, exported again: its configuration only says what the layers should be.
        let stored = storage.path().join("stored");
        podman(&["push", id, &format!("dir:{}", stored.display())]).expect_code(0);
        let taken = taken_in(&stored)?;
        assert_eq!(taken.config, Sha256Digest::from_oci(id)?, "podman stored an image under another's name");
        Ok(Some(taken))
    }

    /// The image that containerd has after an import into a separate namespace.
    fn containerd_import(file: &Path, reference: &str, folder: &Path) -> Result<Option<Taken>, Failed> {
        let space = namespace(folder);
        let ctr =
            |args: &[&str]| call("ctr", &[&["-a", CONTAINERD, "-n", &space][..], args].concat(), folder);
        let imported = ctr(&["images", "import", "--no-unpack", &file.display().to_string()]);
        let imported =
            if done(&imported) { imported } else { ctr(&["images", "import", &file.display().to_string()]) };
        let listed = ctr(&["images", "ls"]).stdout;
        let mut rows = listed
            .lines()
            .filter(|row| row.split_whitespace().next().is_some_and(|name| name.ends_with(reference)));
        let digest =
            rows.next().and_then(|row| row.split_whitespace().find(|word| word.starts_with("sha256:")));
        let mut taken = None;
        if let (true, Some(digest)) = (done(&imported), digest) {
            let get = |digest: &str| -> Result<Value, Failed> {
                Ok(serde_json::from_str(&ctr(&["content", "get", digest]).expect_code(0).stdout)?)
            };
            let mut manifest = get(digest)?;
            if let Some(child) = manifest["manifests"][0]["digest"].as_str() {
                manifest = get(child)?;
            }
            let found = by_manifest(&manifest)?;
            let unpack = |layer: &Sha256Digest| -> Result<Sha256Digest, Failed> {
                let get = ["-a", CONTAINERD, "-n", &space, "content", "get", &layer.to_oci()];
                Ok(Sha256Digest::of(&unpacked(Command::new("ctr").args(get).output()?.stdout)?))
            };
            let layers = found.layers.iter().map(unpack).collect::<Result<_, _>>()?;
            taken = Some(Taken { layers, ..found });
        }
        Self::empty_namespace(&space, folder);
        Ok(taken)
    }

    fn empty_namespace(space: &str, folder: &Path) {
        let ctr = |args: &[&str]| call("ctr", &[&["-a", CONTAINERD, "-n", space][..], args].concat(), folder);
        for name in ctr(&["images", "ls", "-q"]).stdout.lines() {
            ctr(&["images", "rm", "--sync", name]);
        }
        for blob in ctr(&["content", "ls", "-q"]).stdout.lines() {
            ctr(&["content", "rm", blob]);
        }
        ctr(&["namespaces", "rm", space]);
    }

    /// Pushes the image of an archive.
    pub(super) fn push(&self, file: &Path, reference: &str) -> Result<(), Failed> {
        let folder = file.parent().ok_or("a folder")?;
        call(&self.crane, &["push", "--insecure", &file.display().to_string(), reference], folder)
            .expect_code(0);
        Ok(())
    }

    /// The digest and the size of a manifest in the registry.
    pub(super) fn manifest(&self, reference: &str) -> Result<Pushed, Failed> {
        let said = call(&self.crane, &["manifest", "--insecure", reference], Path::new("/")).expect_code(0);
        // The program ends its output with a newline.
        let digest = call(&self.crane, &["digest", "--insecure", reference], Path::new("/")).expect_code(0);
        let manifest: Value = serde_json::from_str(&said.stdout)?;
        Ok(Pushed {
            digest: Sha256Digest::from_oci(digest.stdout.trim())?,
            size: said.stdout.trim_end().len(),
            media_type: manifest["mediaType"].as_str().ok_or("a media type")?.to_owned(),
        })
    }

    /// Pushes an index of images, each for a platform, or for none.
    pub(super) fn push_index(
        &self,
        repository: &str,
        tag: &str,
        children: &[(&Pushed, &str)],
    ) -> Result<(), Failed> {
        let entry = |(child, platform): &(&Pushed, &str)| {
            let mut entry =
                json!({"mediaType": child.media_type, "digest": child.digest.to_oci(), "size": child.size});
            let parts: Vec<&str> = platform.split('/').collect();
            if let [os, architecture, variant @ ..] = parts.as_slice() {
                entry["platform"] = json!({"os": os, "architecture": architecture});
                if let [variant] = variant {
                    entry["platform"]["variant"] = (*variant).into();
                }
            }
            entry
        };
        let entries: Vec<Value> = children.iter().map(entry).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
        let path = repository.split_once('/').ok_or("a repository")?.1;
        let url = format!("http://{}/v2/{path}/manifests/{tag}", self.registry);
        let header = format!("Content-Type: {INDEX}");
        let put =
            ["--fail", "--silent", "--show-error", "-X", "PUT", "-H", &header, "--data-binary", &index, &url];
        call("curl", &put, Path::new("/")).expect_code(0);
        Ok(())
    }

    /// The manifest that each program takes for a platform.
    pub(super) fn for_platform(
        &self,
        reference: &str,
        platform: &str,
    ) -> Result<Vec<(&'static str, Sha256Digest)>, Failed> {
        let folder = tempfile::tempdir()?;
        let folder = folder.path();
        let mut answers = Vec::new();
        let said = call(&self.crane, &["digest", "--insecure", "--platform", platform, reference], folder);
        if done(&said) {
            answers.push(("crane", Sha256Digest::from_oci(said.stdout.trim())?));
        }
        let fetched = folder.join("fetched");
        let output = fetched.display().to_string();
        let fetch =
            ["manifest", "fetch", "--plain-http", "--platform", platform, "--output", &output, reference];
        if done(&call(&self.oras, &fetch, folder)) {
            answers.push(("oras", Sha256Digest::of(&fs::read(fetched)?)));
        }
        let parts: Vec<&str> = platform.split('/').collect();
        let mut flags = vec!["--override-os", parts[0], "--override-arch", parts[1]];
        if let Some(variant) = parts.get(2) {
            flags.extend(["--override-variant", variant]);
        }
        if self.skopeo_copy(&flags, &format!("docker://{reference}"), folder)? {
            answers.push(("skopeo", Sha256Digest::of(&fs::read(folder.join("taken/manifest.json"))?)));
        }
        Ok(answers)
    }
}

impl Programs {
    /// Which of two images the engines pull for a platform, which takes a while. They report its config or its
    /// manifest, so `images` has both for each.
    pub(super) fn pulled_for_platform(
        &self,
        reference: &str,
        platform: &str,
        images: &[(Sha256Digest, Sha256Digest)],
    ) -> Result<Vec<(&'static str, Sha256Digest)>, Failed> {
        let folder = tempfile::tempdir()?;
        let folder = folder.path();
        let mut answers = Vec::new();
        if done(&call("docker", &["pull", "--quiet", "--platform", platform, reference], folder)) {
            let said = call("docker", &["image", "inspect", "--format", "{{.Id}}", reference], folder);
            let id = Sha256Digest::from_oci(said.expect_code(0).stdout.trim())?;
            call("docker", &["image", "rm", "--force", reference], folder);
            let (_, manifest) = images.iter().find(|(config, _)| *config == id).ok_or("one of the two")?;
            answers.push(("docker", *manifest));
        }
        if self.containerd {
            let space = namespace(folder);
            let ctr =
                |args: &[&str]| call("ctr", &[&["-a", CONTAINERD, "-n", &space][..], args].concat(), folder);
            if done(&ctr(&["content", "fetch", "--plain-http", "--platform", platform, reference])) {
                let fetched = ctr(&["content", "ls", "-q"]).stdout;
                let is_there = |digest: &Sha256Digest| fetched.contains(&digest.to_oci());
                let manifests = images.iter().map(|(_, manifest)| *manifest).filter(is_there);
                answers.extend(manifests.map(|manifest| ("containerd", manifest)));
            }
            Self::empty_namespace(&space, folder);
        }
        Ok(answers)
    }
}

/// A manifest in the registry.
pub(super) struct Pushed {
    pub(super) digest: Sha256Digest,
    size: usize,
    media_type: String,
}

/// A name that no other test uses.
fn namespace(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    format!("lifeboat-{}", name.trim_matches(|c: char| !c.is_ascii_alphanumeric()))
}

fn digests(list: &Value) -> Result<Vec<Sha256Digest>, Failed> {
    let list = list.as_array().ok_or("a list of digests")?;
    list.iter().map(|digest| Ok(Sha256Digest::from_oci(digest.as_str().ok_or("a digest")?)?)).collect()
}

/// The image of a manifest whose layers are not compressed.
fn by_manifest(manifest: &Value) -> Result<Taken, Failed> {
    let digest = |descriptor: &Value| -> Result<Sha256Digest, Failed> {
        Ok(Sha256Digest::from_oci(descriptor["digest"].as_str().ok_or("a digest")?)?)
    };
    let layers = manifest["layers"].as_array().ok_or("layers")?;
    Ok(Taken {
        config: digest(&manifest["config"])?,
        layers: layers.iter().map(digest).collect::<Result<_, _>>()?,
    })
}

/// The image that the engine has under the name after a load. It had none before.
fn docker_load(file: &Path, reference: &str, folder: &Path) -> Result<Option<Taken>, Failed> {
    let docker = |args: &[&str]| call("docker", args, folder);
    let loaded = docker(&["load", "--quiet", "--input", &file.display().to_string()]);
    let inspected = docker(&["image", "inspect", reference]);
    let taken = if done(&loaded) && done(&inspected) {
        let image: Value = serde_json::from_str(&inspected.stdout)?;
        let id = image[0]["Id"].as_str().ok_or("an id")?;
        Some(Taken { config: Sha256Digest::from_oci(id)?, layers: digests(&image[0]["RootFS"]["Layers"])? })
    } else {
        None
    };
    for line in loaded.stdout.lines() {
        if let Some((_, name)) = line.split_once(": ") {
            docker(&["image", "rm", "--force", name.trim()]);
        }
    }
    Ok(taken)
}
