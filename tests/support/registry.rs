//! Puts images into a real registry, in the simplest way.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lifeboat_core::Sha256Digest;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A repository in a registry on loopback.
#[derive(Debug, Clone)]
pub struct TestRepository {
    address: String,
    name: String,
}

impl TestRepository {
    /// A repository that no other test uses.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    pub fn fresh(address: &str, topic: &str) -> Self {
        let unique = tempfile::tempdir().expect("a temporary folder");
        let unique = unique.path().file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let unique: String = unique.chars().filter(char::is_ascii_alphanumeric).collect();
        Self { address: address.to_owned(), name: format!("lifeboat-test/{topic}-{unique}") }
    }

    /// The start of references to it.
    pub fn name(&self) -> String {
        format!("{}/{}", self.address, self.name)
    }

    /// Pushes an image under a tag; `content` distinguishes images.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub fn image(&self, tag: &str, content: &str) -> Sha256Digest {
        let config =
            json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let layer = self.blob("application/vnd.oci.image.layer.v1.tar", content.as_bytes());
        self.manifest(Some(tag), &json!({"config": config, "layers": [layer]}))
    }

    /// Pushes a manifest that refers to `subject` and has `layer` as its only layer, and puts it, alone, under the
    /// fallback tag as well, for a registry that does not list referrers.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub fn referrer(&self, subject: Sha256Digest, media_type: &str, layer: &[u8]) -> Sha256Digest {
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}");
        let layer = self.blob(media_type, layer);
        let subject = json!({"mediaType": MANIFEST, "digest": subject.to_oci(), "size": 1});
        let referrer =
            self.manifest(None, &json!({"config": config, "layers": [layer], "subject": subject.clone()}));
        let entry = json!({"mediaType": MANIFEST, "digest": referrer.to_oci(), "size": 1});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
        let tag = subject["digest"].as_str().expect("a digest").replace(':', "-");
        self.put(&tag, INDEX, index.to_string().as_bytes());
        referrer
    }

    /// Pushes an index of two images, for amd64 and arm64, under a tag.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub fn image_index(&self, tag: &str, children: &[Sha256Digest; 2]) -> Sha256Digest {
        let child = |digest: Sha256Digest, architecture: &str| {
            let size = self.get(&format!("manifests/{}", digest.to_oci())).expect("a pushed image").len();
            let platform = json!({"os": "linux", "architecture": architecture});
            json!({"mediaType": MANIFEST, "digest": digest.to_oci(), "size": size, "platform": platform})
        };
        let children = [child(children[0], "amd64"), child(children[1], "arm64")];
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string();
        self.put(tag, INDEX, index.as_bytes());
        Sha256Digest::of(index.as_bytes())
    }

    fn manifest(&self, tag: Option<&str>, members: &Value) -> Sha256Digest {
        let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST});
        for (name, value) in members.as_object().expect("members") {
            manifest[name] = value.clone();
        }
        let bytes = manifest.to_string();
        let digest = Sha256Digest::of(bytes.as_bytes());
        self.put(tag.unwrap_or(&digest.to_oci()), MANIFEST, bytes.as_bytes());
        digest
    }

    /// Puts a manifest under a tag, whatever its content.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub fn put_manifest(&self, tag: &str, manifest: &Value) {
        self.put(tag, MANIFEST, manifest.to_string().as_bytes());
    }

    fn put(&self, name: &str, media_type: &str, bytes: &[u8]) {
        let path = format!("/v2/{}/manifests/{name}", self.name);
        let (status, _, body) = self.request("PUT", &path, media_type, bytes);
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Sha256Digest::of(bytes).to_oci();
        let (status, head, _) = self.request("POST", &format!("/v2/{}/blobs/uploads/", self.name), "", b"");
        assert_eq!(status, 202, "{head}");
        let location = head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case("location")));
        let location = location.expect("a place for the upload").1.trim();
        let path = location.strip_prefix(&format!("http://{}", self.address)).unwrap_or(location);
        let separator = if path.contains('?') { '&' } else { '?' };
        let (status, head, _) = self.request(
            "PUT",
            &format!("{path}{separator}digest={digest}"),
            "application/octet-stream",
            bytes,
        );
        assert_eq!(status, 201, "{head}");
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// The bytes of a manifest or blob in the repository, such as `manifests/1.0`; `None` if it does not exist.
    ///
    /// # Panics
    /// When the registry cannot be reached.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        let (status, _, body) = self.request("GET", &format!("/v2/{}/{path}", self.name), "", b"");
        (status == 200).then_some(body)
    }

    fn request(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).expect("the registry listens");
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\
             Accept: {MANIFEST}, {INDEX}, */*\r\n\r\n",
            self.address,
            body.len()
        )
        .and_then(|()| stream.write_all(body))
        .expect("the registry takes a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the registry answers");
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("the end of the head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head, answer[end + 4..].to_vec())
    }
}
