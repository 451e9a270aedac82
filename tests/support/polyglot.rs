//! Archives and layouts that are one image to one program and another to the next: built from a `good` image, which is
//! signed, and an `evil` one. A verifier must not accept any in which a program finds the evil one.

use std::io::Write as _;

use lifeboat_core::Sha256Digest;
use serde_json::{Value, json};

use crate::archive::{Entry, archive, set_checksum};

/// An image as `docker save` writes it: a config and one layer.
#[derive(Debug, Clone)]
pub struct Image {
    /// `good` or `evil`.
    pub name: &'static str,
    /// The config.
    pub config: Vec<u8>,
    /// The layer, an archive with one file that contains the name.
    pub layer: Vec<u8>,
}

impl Image {
    /// The image with this name; `salt` distinguishes those of different tests.
    #[must_use]
    pub fn new(name: &'static str, salt: &str) -> Self {
        let layer = archive(&[Entry::file(name, salt.as_bytes())]);
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": [format!("/{name}")]},
            "rootfs": {"type": "layers", "diff_ids": [Sha256Digest::of(&layer).to_oci()]},
        });
        Self { name, config: config.to_string().into_bytes(), layer }
    }

    /// The image's id.
    #[must_use]
    pub fn id(&self) -> Sha256Digest {
        Sha256Digest::of(&self.config)
    }

    fn config_name(&self) -> String {
        format!("{}.json", self.name)
    }

    fn layer_name(&self) -> String {
        format!("{}/layer.tar", self.name)
    }

    /// Its entry in `manifest.json`.
    #[must_use]
    pub fn saved(&self, tag: &str) -> Value {
        json!({"Config": self.config_name(), "RepoTags": [tag], "Layers": [self.layer_name()]})
    }

    /// Its manifest by the OCI image specification.
    #[must_use]
    pub fn manifest(&self) -> Vec<u8> {
        let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Sha256Digest::of(bytes).to_oci(), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &self.config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &self.layer)],
        });
        manifest.to_string().into_bytes()
    }

    /// Its entry in an index, under a tag.
    #[must_use]
    pub fn index_entry(&self, tag: &str) -> Value {
        let manifest = self.manifest();
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Sha256Digest::of(&manifest).to_oci(), "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        })
    }

    fn files(&self) -> Vec<Entry> {
        vec![Entry::file(&self.config_name(), &self.config), Entry::file(&self.layer_name(), &self.layer)]
    }

    fn blobs(&self) -> Vec<Entry> {
        let blob = |bytes: &[u8]| Entry::file(&format!("blobs/sha256/{}", Sha256Digest::of(bytes)), bytes);
        vec![blob(&self.config), blob(&self.layer), blob(&self.manifest())]
    }
}

/// The bytes, compressed with gzip.
///
/// # Errors
///
/// When they cannot be compressed.
pub fn packed(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// An archive, and the attack that it is an instance of.
#[derive(Debug)]
pub struct Polyglot {
    /// The modification.
    pub name: String,
    /// Its members.
    pub entries: Vec<Entry>,
}

/// The two images, and the name under which the good one is saved.
#[derive(Debug)]
pub struct Pair {
    /// The signed image.
    pub good: Image,
    /// The other image.
    pub evil: Image,
    /// `NAME:TAG`
    pub reference: String,
}

const MANIFEST: &str = "manifest.json";

/// The file that marks a layout.
fn marker() -> Entry {
    Entry::file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
}

/// An `index.json` of these entries.
fn index(entries: &Value) -> Entry {
    Entry::file("index.json", json!({"schemaVersion": 2, "manifests": entries}).to_string().as_bytes())
}

/// All members except the one with this name.
fn without(entries: &[Entry], name: &str) -> Vec<Entry> {
    entries.iter().filter(|entry| entry.name != name).cloned().collect()
}

impl Pair {
    /// Two images, to be saved under `reference`.
    #[must_use]
    pub fn new(reference: &str) -> Self {
        let (good, evil) = (Image::new("good", reference), Image::new("evil", reference));
        Self { good, evil, reference: reference.to_owned() }
    }

    fn tag(&self) -> &str {
        self.reference.rsplit(':').next().unwrap_or_default()
    }

    fn list(&self, image: &Image) -> Vec<u8> {
        json!([image.saved(&self.reference)]).to_string().into_bytes()
    }

    /// Only the good image.
    #[must_use]
    pub fn plain(&self) -> Vec<Entry> {
        self.with_list(&self.list(&self.good))
    }

    fn with_list(&self, list: &[u8]) -> Vec<Entry> {
        [vec![Entry::file(MANIFEST, list)], self.good.files(), self.evil.files()].concat()
    }

    /// Archives in Docker's form in which no program finds the evil image.
    #[must_use]
    pub fn harmless(&self) -> Vec<Polyglot> {
        let rename = |prefix: &str| {
            let entries = self.plain().into_iter();
            entries
                .map(|entry| Entry { name: format!("{prefix}{}", entry.name), ..entry })
                .collect::<Vec<_>>()
        };
        let by_record = |entry: Entry| {
            let name = entry.name.clone();
            Entry { name: "other".to_owned(), ..entry }.with_record("path", &name).with_record("mtime", "1.5")
        };
        let by_long_name =
            |entry: Entry| Entry { long_name: Some(entry.name.clone()), name: "other".to_owned(), ..entry };
        let layer = self.good.layer_name();
        let mut linked: Vec<Entry> = self.plain().into_iter().filter(|entry| entry.name != layer).collect();
        linked.push(Entry::file("common/layer.tar", &self.good.layer));
        let with = |link: Entry| [linked.clone(), vec![link]].concat();
        let name = format!("{layer}.gz");
        let list =
            json!([{"Config": self.good.config_name(), "RepoTags": [self.reference], "Layers": [name]}]);
        let gz = packed(&self.good.layer).unwrap_or_default();
        let with_packed = [
            vec![Entry::file(MANIFEST, list.to_string().as_bytes()), Entry::file(&name, &gz)],
            self.good.files(),
        ];
        let with_packed = with_packed.concat();
        let global = Entry::file("pax_global_header", b"20 comment=a commit\n").of_kind(b'g');
        let upper = Entry::file("MANIFEST.JSON", &self.list(&self.evil));
        let two = json!([self.good.saved(&self.reference), self.evil.saved("lifeboat-test/other:9")]);
        [
            ("plain", self.plain()),
            ("names that begin with ./", rename("./")),
            ("names that begin with .//", rename(".//")),
            ("names in records", self.plain().into_iter().map(by_record).collect()),
            ("long names", self.plain().into_iter().map(by_long_name).collect()),
            ("a layer that is a symbolic link", with(Entry::link(&layer, "../common/layer.tar", true))),
            ("a layer that is a hard link", with(Entry::link(&layer, "common/layer.tar", false))),
            ("a comment on the whole archive", [vec![global], self.plain()].concat()),
            ("a name in capitals", [self.plain(), vec![upper]].concat()),
            ("another image under another name", self.with_list(two.to_string().as_bytes())),
            ("a packed layer", with_packed),
            ("a folder", [vec![Entry::file("good/", b"").of_kind(b'5')], self.plain()].concat()),
        ]
        .map(|(name, entries)| Polyglot { name: name.to_owned(), entries })
        .into()
    }

    /// Archives in Docker's form in which some program finds the evil image, or might.
    #[must_use]
    pub fn deceptive(&self) -> Vec<Polyglot> {
        let mut all: Vec<Polyglot> = self
            .lists()
            .into_iter()
            .map(|(name, list)| Polyglot { name, entries: self.with_list(list.as_bytes()) })
            .collect();
        let targets = [
            (MANIFEST.to_owned(), self.list(&self.evil), "evil.list".to_owned()),
            (self.good.config_name(), self.evil.config.clone(), self.evil.config_name()),
            (self.good.layer_name(), self.evil.layer.clone(), self.evil.layer_name()),
        ];
        for (target, content, source) in targets {
            for (name, more) in seconds(&target, &content, &source) {
                let source = Entry::file("evil.list", &self.list(&self.evil));
                let before = [more.clone(), self.plain(), vec![source.clone()]].concat();
                let after = [self.plain(), vec![source], more].concat();
                for (order, entries) in [("before", before), ("after", after)] {
                    all.push(Polyglot { name: format!("{target}: {name}, {order}"), entries });
                }
            }
        }
        // Programs find config and layer in different orders.
        let both: Vec<Entry> = [self.good.config_name(), self.good.layer_name()]
            .into_iter()
            .zip([&self.evil.config, &self.evil.layer])
            .map(|(name, content)| Entry::file(&format!(".//{name}"), content))
            .collect();
        all.push(Polyglot { name: "config and layer".to_owned(), entries: [self.plain(), both].concat() });
        all
    }

    /// Archives of the good image that are the evil one to programs that first look for compression, by compression
    /// method. The name of the first member starts a compressed file, which skips the rest of the header up to the evil
    /// archive in the member's content.
    ///
    /// # Errors
    ///
    /// When something cannot be compressed.
    pub fn compressed(&self, signed: &[Entry]) -> std::io::Result<[(&'static str, Vec<u8>); 2]> {
        const BLOCK: usize = 512;
        const SKIPPED: [u8; 4] = *b"P*M\x18";
        let with_first = |content: &[u8], head: &[u8]| {
            let first = Entry::file("first", content);
            let mut bytes = archive(&[&[first][..], &self.plain(), signed].concat());
            bytes[..head.len()].copy_from_slice(head);
            set_checksum(&mut bytes[..BLOCK]);
            bytes
        };
        let inside =
            archive(&[vec![Entry::file(MANIFEST, &self.list(&self.evil))], self.evil.files()].concat());
        // Without a name the gzip header has 10 bytes (RFC 1952); an extra field is skipped. An empty file follows,
        // whose extra field is the rest of the archive and whose end comes after it.
        let packed = packed(&inside)?;
        let passing_over =
            |length: u16| [&[0x1f, 0x8b, 8, 4][..], &packed[4..10], &length.to_le_bytes()].concat();
        let content = [&packed[10..], &passing_over(0)].concat();
        let mut by_gzip = with_first(&content, &passing_over(500));
        let behind = BLOCK + content.len();
        let rest = u16::try_from(by_gzip.len() - behind).map_err(std::io::Error::other)?;
        by_gzip[behind - 2..behind].copy_from_slice(&rest.to_le_bytes());
        by_gzip.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        // A skippable frame (RFC 8878) before, and another one after.
        let frame = zstd::encode_all(&inside[..], 3)?;
        let head = [&SKIPPED[..], &504_u32.to_le_bytes()].concat();
        let behind = BLOCK + frame.len();
        let mut by_zstd = with_first(&[&frame[..], &SKIPPED, &[0; 4]].concat(), &head);
        let rest = u32::try_from(by_zstd.len() - behind - 8).map_err(std::io::Error::other)?;
        by_zstd[behind + 4..behind + 8].copy_from_slice(&rest.to_le_bytes());
        Ok([("gzip", by_gzip), ("zstd", by_zstd)])
    }

    /// Lists that programs read differently.
    fn lists(&self) -> Vec<(String, String)> {
        let (good, evil) = (self.good.saved(&self.reference), self.evil.saved(&self.reference));
        let members = |image: &Value, names: [&str; 3]| {
            let values = ["Config", "RepoTags", "Layers"].map(|member| image[member].to_string());
            names
                .into_iter()
                .zip(values)
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        let exact = ["Config", "RepoTags", "Layers"];
        let mut lists = Vec::new();
        for (what, names) in [
            ("lower case", ["config", "repotags", "layers"]),
            ("capitals", ["CONFIG", "REPOTAGS", "LAYERS"]),
            ("a long s", ["config", "RepoTags2", "Layer\u{17f}"]),
            ("an escaped long s", ["config", "RepoTags2", "Layer\\u017f"]),
            ("the same", exact),
            ("escapes", ["\\u0043onfig", "RepoTags2", "\\u004cayers"]),
        ] {
            let (good, evil) = (members(&good, exact), members(&evil, names));
            lists.push((format!("{what}, after"), format!("[{{{good},{evil}}}]")));
            lists.push((format!("{what}, before"), format!("[{{{evil},{good}}}]")));
        }
        lists.push(("two of one name".to_owned(), json!([good, evil]).to_string()));
        lists.push(("two of one name, the other first".to_owned(), json!([evil, good]).to_string()));
        let layer = Sha256Digest::of(&self.good.layer).to_oci();
        let mut sourced = good.clone();
        sourced["LayerSources"] = json!({layer: {
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": Sha256Digest::of(&self.evil.layer).to_oci(), "size": 1, "urls": ["https://evil.example/"],
        }});
        lists.push(("another source for a layer".to_owned(), json!([sourced]).to_string()));
        lists
    }

    /// Archives of both forms, and layouts with an archive of the oldest form in them.
    #[must_use]
    pub fn of_two_forms(&self, signed: &[Entry]) -> Vec<Polyglot> {
        let list = |image: &Image| Entry::file(MANIFEST, &self.list(image));
        let files = [self.good.files(), self.evil.files()].concat();
        let both = json!([self.good.saved(&self.reference), self.evil.saved("lifeboat-test/other:9")]);
        let wrong_layer = json!([{
            "Config": self.good.config_name(), "RepoTags": [self.reference], "Layers": [self.evil.layer_name()],
        }]);
        let oldest = |place: &str| {
            let image = json!({"id": "e".repeat(64), "architecture": "amd64", "os": "linux"});
            let repositories = json!({"app": {self.tag(): "e".repeat(64)}});
            vec![
                Entry::file(&format!("{place}/VERSION"), b"1.0"),
                Entry::file(&format!("{place}/json"), image.to_string().as_bytes()),
                Entry::file(&format!("{place}/layer.tar"), &self.evil.layer),
                Entry::file("repositories", repositories.to_string().as_bytes()),
            ]
        };
        let evil_index = index(&json!([self.evil.index_entry(self.tag())]));
        let saved = [self.plain(), self.good.blobs(), self.evil.blobs()].concat();
        [
            ("a layout beside another image's list", [signed, &files, &[list(&self.evil)]].concat()),
            (
                "a layout beside a list of two",
                [signed, &files, &[Entry::file(MANIFEST, both.to_string().as_bytes())]].concat(),
            ),
            (
                "a layout beside another layer",
                [signed, &files, &[Entry::file(MANIFEST, wrong_layer.to_string().as_bytes())]].concat(),
            ),
            (
                "a layout without its marker",
                [without(signed, "oci-layout"), files.clone(), vec![list(&self.evil)]].concat(),
            ),
            ("a list beside another image's index", [saved.clone(), vec![evil_index.clone()]].concat()),
            ("a list beside another image's layout", [saved, vec![evil_index, marker()]].concat()),
            ("a layout with repositories", [signed, &oldest(&"e".repeat(64))[..]].concat()),
            ("a layout with an image in its blobs", [signed, &oldest("blobs")[..3]].concat()),
        ]
        .map(|(name, entries)| Polyglot { name: name.to_owned(), entries })
        .into()
    }

    /// Archives of both forms whose `index.json` leads to the good image in one way and to the evil one in another.
    #[must_use]
    pub fn of_two_ways(&self, signed: &[Entry]) -> Vec<Polyglot> {
        let list = |image: &Image| Entry::file(MANIFEST, &self.list(image));
        let files = [self.good.files(), self.evil.files()].concat();
        let saved = [self.plain(), self.good.blobs(), self.evil.blobs()].concat();
        let signed_without_index = without(signed, "index.json");
        let (good, evil): (Value, Value) = (
            serde_json::from_slice(&self.good.manifest()).unwrap_or_default(),
            serde_json::from_slice(&self.evil.manifest()).unwrap_or_default(),
        );
        let blob_entry = |document: &Value, media_type: &str| {
            let bytes = document.to_string().into_bytes();
            let digest = Sha256Digest::of(&bytes);
            let entry = json!({
                "mediaType": media_type, "digest": digest.to_oci(), "size": bytes.len(),
                "annotations": {"org.opencontainers.image.ref.name": self.tag()},
            });
            (Entry::file(&format!("blobs/sha256/{digest}"), &bytes), entry)
        };
        let mut others = good.clone();
        others["layers"] = evil["layers"].clone();
        let other_layers = blob_entry(&others, "application/vnd.oci.image.manifest.v1+json");
        let child = |image: &Image, architecture: &str| {
            let mut entry = image.index_entry("");
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        };
        let two = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [child(&self.evil, "amd64"), child(&self.good, "s390x")],
        });
        let of_two = blob_entry(&two, "application/vnd.oci.image.index.v1+json");
        let as_signature = |image: &Image| {
            let mut entry = image.index_entry(self.tag());
            entry["annotations"]["kind"] = "dev.cosignproject.cosign/sigs".into();
            entry
        };
        let (legacy_good, legacy_evil) = (as_signature(&self.good), as_signature(&self.evil));
        [
            (
                "a layout of other layers under the same config",
                [
                    signed_without_index,
                    files.clone(),
                    vec![list(&self.good), index(&json!([other_layers.1])), other_layers.0],
                    self.evil.blobs(),
                ]
                .concat(),
            ),
            (
                "an index whose other image is for this platform",
                [saved.clone(), vec![marker(), of_two.0, index(&json!([of_two.1]))]].concat(),
            ),
            (
                "a tag on what says that it is a signature",
                [saved.clone(), vec![marker(), index(&json!([legacy_evil, self.good.index_entry("other")]))]]
                    .concat(),
            ),
            (
                "a list of another image beside an entry that says that it is a signature",
                [
                    without(signed, "index.json"),
                    files.clone(),
                    vec![list(&self.evil), index(&json!([legacy_good, self.evil.index_entry("other")]))],
                    self.evil.blobs(),
                ]
                .concat(),
            ),
        ]
        .map(|(name, entries)| Polyglot { name: name.to_owned(), entries })
        .into()
    }

    /// The files of a layout of the good image that also contains the evil one.
    #[must_use]
    pub fn layout(&self) -> Vec<Entry> {
        let files = vec![marker(), index(&json!([self.good.index_entry(self.tag())]))];
        [files, self.good.blobs(), self.evil.blobs()].concat()
    }

    /// Indexes of a layout that programs read differently, by name. `others` are the entries for signatures.
    #[must_use]
    pub fn indexes(&self, others: &[Value]) -> Vec<(String, String)> {
        let (good, evil) = (self.good.index_entry(self.tag()), self.evil.index_entry(self.tag()));
        let texts =
            |entries: &[&Value]| entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let rest = others.iter().fold(String::new(), |rest, other| rest + "," + &other.to_string());
        let index = |members: &str| format!(r#"{{"schemaVersion":2,{members}}}"#);
        let good_list = format!(r#""manifests":[{good}{rest}]"#);
        let mut all = Vec::new();
        for name in
            ["Manifests", "MANIFESTS", "manife\u{17f}ts", "manife\\u017fts", "manifests", "\\u006danifests"]
        {
            let evil_list = format!(r#""{name}":[{evil}]"#);
            all.push((format!("{name}, after"), index(&format!("{good_list},{evil_list}"))));
            all.push((format!("{name}, before"), index(&format!("{evil_list},{good_list}"))));
        }
        let (good_digest, evil_digest) = (good["digest"].to_string(), evil["digest"].to_string());
        for name in ["Digest", "DIGEST", "dige\u{17f}t", "digest"] {
            for (order, pair) in [
                ("after", format!(r#""digest":{good_digest},"{name}":{evil_digest}"#)),
                ("before", format!(r#""{name}":{evil_digest},"digest":{good_digest}"#)),
            ] {
                let entry = good.to_string().replace(&format!(r#""digest":{good_digest}"#), &pair);
                all.push((
                    format!("{name} of an entry, {order}"),
                    index(&format!(r#""manifests":[{entry}{rest}]"#)),
                ));
            }
        }
        let mut unread = evil.clone();
        unread["digest"] = format!("sha512:{}", "0".repeat(128)).into();
        let mut named = evil.clone();
        named["annotations"] = json!({"io.containerd.image.name": format!("docker.io/{}", self.reference)});
        let mut kind = good.clone();
        kind["mediaType"] = "application/vnd.oci.image.index.v1+json".into();
        for (name, entries) in [
            ("two of one tag", vec![&good, &evil]),
            ("two of one tag, the other first", vec![&evil, &good]),
            ("a digest that is not read, first", vec![&unread, &good]),
            ("a digest that is not read, last", vec![&good, &unread]),
            ("containerd's name for another", vec![&good, &named]),
            ("another kind of document", vec![&kind]),
        ] {
            all.push((name.to_owned(), index(&format!(r#""manifests":[{}{rest}]"#, texts(&entries)))));
        }
        all
    }
}

/// Members that some programs take in place of `target` and others do not. The archive contains a file `source` with
/// the content.
fn seconds(target: &str, content: &[u8], source: &str) -> Vec<(String, Vec<Entry>)> {
    let file = |name: &str| Entry::file(name, content);
    let (folder, base) = target.rsplit_once('/').map_or(("", target), |(folder, base)| (folder, base));
    let up = if folder.is_empty() { "" } else { "../" };
    let inner = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut all: Vec<(String, Vec<Entry>)> = [
        target.to_owned(),
        format!("./{target}"),
        format!(".//{target}"),
        format!("x/../{target}"),
        format!("./x/../{target}"),
        format!("/{target}"),
        format!("../{target}"),
        format!("{inner}./{base}"),
        format!("{inner}/{base}"),
        format!("{target}/"),
        format!("{target}/."),
    ]
    .into_iter()
    .map(|name| (name.clone(), vec![file(&name)]))
    .collect();
    for kind in [b'S', b'7', b'Z', 0, b'g', b'D'] {
        all.push((format!("type {}", kind.escape_ascii()), vec![file(target).of_kind(kind)]));
    }
    let long = Entry { long_name: Some(target.to_owned()), ..file("other") };
    let both = Entry { long_name: Some("other".to_owned()), ..file("third") }.with_record("path", target);
    all.extend([
        ("a record".to_owned(), vec![file("other").with_record("path", target)]),
        (
            "a record of a sparse file".to_owned(),
            vec![
                file("other")
                    .with_record("GNU.sparse.major", "1")
                    .with_record("GNU.sparse.minor", "0")
                    .with_record("GNU.sparse.name", target)
                    .with_record("GNU.sparse.realsize", "1"),
            ],
        ),
        ("a long name".to_owned(), vec![long]),
        ("two long names".to_owned(), vec![both]),
        ("a symbolic link".to_owned(), vec![Entry::link(target, &format!("{up}{source}"), true)]),
        ("a hard link".to_owned(), vec![Entry::link(target, source, false)]),
        (
            "a folder that is a link".to_owned(),
            vec![Entry::link("d", ".", true), file(&format!("d/{target}"))],
        ),
        ("a link that is a folder".to_owned(), vec![Entry::link(&format!("{target}/x"), ".", true)]),
    ]);
    all
}
