//! Input for verifiers: documents that `lifeboat-verify --report` writes, with our own evidence, and that of the public
//! conformance suite and of other verifiers' tests.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use lifeboat_tests::authority::{TestAuthority, VOUCHER};
use lifeboat_tests::command::{lifeboat, run};
use lifeboat_tests::gate::corpus;
use lifeboat_tests::layout::LayoutBuilder;
use lifeboat_tests::log::TestLog;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::supply_chain::{PASSPHRASE, SIGN, VERIFY, conformance};

const TIME: i64 = 1_700_000_000;
const IDENTITY: &str = "https://ci.example/acme/app/release.yml@refs/tags/v1";
const BUILD: &str = "https://actions.github.io/buildtypes/workflow/v1";

/// The place where evidence is made.
pub(super) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(super) fn new() -> Result<Self, Failed> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sign(&self, args: &[&str]) {
        let mut command = lifeboat(SIGN, self.folder.path(), args);
        run(command.current_dir(&self.folder).env("COSIGN_PASSWORD", PASSPHRASE)).expect_code(0);
    }

    /// All documents, each with a name.
    pub(super) fn documents(&self) -> Result<Vec<(String, Value)>, Failed> {
        let mut all = self.own()?;
        for case in conformance::suite()?.unwrap_or_default() {
            let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bundle = case.join("bundle.sigstore.json");
            let args = conformance::arguments(&case, &bundle, false)?;
            all.extend(self.document(self.folder.path(), &args)?.map(|document| (name, document)));
        }
        if let Some(folder) = corpus(conformance::ROOTS) {
            all.extend(self.of_others(&folder)?);
        }
        Ok(all)
    }

    /// The `--report` document of a verification, without the answer; `None` if nothing was verified.
    fn document(&self, at: &Path, args: &[String]) -> Result<Option<Value>, Failed> {
        let report = self.path("report.json");
        let _ = fs::remove_file(&report);
        let mut command = lifeboat(VERIFY, self.folder.path(), args);
        command.arg("--report").arg(&report).current_dir(at);
        let _ = run(&mut command);
        let Ok(text) = fs::read(&report) else { return Ok(None) };
        let mut document = serde_json::from_slice::<Value>(&text)?["verdict"].take();
        document["derivation"] = Value::Null;
        // The place of evidence has no effect. Its number identifies it.
        for (number, item) in document["evidence"].as_array_mut().ok_or("evidence")?.iter_mut().enumerate() {
            item["place"] = number.to_string().into();
        }
        // Evidence next to the file would have to be included.
        let is_whole = document["evidence"].as_array().ok_or("evidence")?.iter().all(|item| {
            item["content"].as_str().is_some_and(|digest| !document["contents"][digest].is_null())
        });
        Ok(is_whole.then_some(document))
    }

    fn own(&self) -> Result<Vec<(String, Value)>, Failed> {
        self.make()?;
        let keys = ["--key", "release.pub", "--key", "other.pub"];
        let by =
            ["--certificate-identity-regexp", "https://ci.example/.*", "--certificate-oidc-issuer", VOUCHER];
        let identity = [&by[..], &["--trusted-root", "root.json", "--insecure-ignore-sct"]].concat();
        let attestation = |kind| ["attestation", "oci:app:1.0", "--type", kind];
        let build =
            ["--source", "github.com/acme/app", "--ref", "refs/tags/v1", "--builder", "https://ci.example"];
        let rows: Vec<(&str, Vec<&str>)> = vec![
            ("by one key", [&["image", "oci:app:1.0"][..], &keys[..2]].concat()),
            ("by two keys", [&["image", "oci:app:1.0", "--threshold", "2"][..], &keys].concat()),
            ("bundles only", [&["image", "oci:app:1.0", "--format", "bundle"][..], &keys].concat()),
            ("legacy only", [&["image", "oci:app:1.0", "--format", "legacy"][..], &keys].concat()),
            ("annotated", [&["image", "oci:app:1.0", "--annotation", "env=prod"][..], &keys].concat()),
            ("of another key", vec!["image", "oci:app:1.0", "--key", "stranger.pub"]),
            ("log demanded", [&["image", "oci:app:1.0", "--require-log"][..], &keys].concat()),
            ("each by itself", [&["tree", "oci:app:1.0"][..], &keys].concat()),
            ("openvex", [&attestation("openvex")[..], &keys].concat()),
            ("young", [&attestation("openvex")[..], &keys, &["--min-time", "2024-01-01T00:00:00Z"]].concat()),
            (
                "too old",
                [&attestation("openvex")[..], &keys, &["--min-time", "2024-06-01T00:00:00Z"]].concat(),
            ),
            ("another type", [&attestation("spdxjson")[..], &keys].concat()),
            ("provenance", [&attestation("slsaprovenance1")[..], &keys, &build].concat()),
            (
                "provenance with parameters",
                [
                    &attestation("slsaprovenance1")[..],
                    &keys,
                    &["--parameter", "level=3", "--parameter", "n:=1"],
                ]
                .concat(),
            ),
            (
                "another source",
                [&attestation("slsaprovenance1")[..], &keys, &["--source", "github.com/acme/ap"]].concat(),
            ),
            ("a file", [&["blob", "file", "--bundle", "plain.json"][..], &keys].concat()),
            ("a file's statement", [&["blob", "file", "--bundle", "statement.json"][..], &keys].concat()),
            ("a file by its digest", {
                let digest = "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
                [&["blob", digest, "--bundle", "plain.json"][..], &keys].concat()
            }),
            ("two bundles", {
                let both = ["--bundle", "plain.json", "--bundle", "identity-a.json", "--threshold", "2"];
                [&["blob", "file"][..], &both, &keys[..2], &identity].concat()
            }),
            ("an identity", [&["blob", "file", "--bundle", "identity-a.json"][..], &identity].concat()),
            ("two of a pattern", {
                let both = ["--bundle", "identity-a.json", "--bundle", "identity-b.json"];
                [&["blob", "file"][..], &both, &identity].concat()
            }),
            ("an unknown log", [&["blob", "file", "--bundle", "unknown.json"][..], &identity].concat()),
            ("another file", [&["blob", "file", "--bundle", "another.json"][..], &identity].concat()),
            ("young enough", {
                let minimum = ["--min-time", "2023-10-01T00:00:00Z"];
                [&["blob", "file", "--bundle", "identity-a.json"][..], &identity, &minimum].concat()
            }),
            ("an authority's demand", {
                let strict = ["--trusted-root", "root.json"];
                [&["blob", "file", "--bundle", "identity-a.json"][..], &by, &strict].concat()
            }),
        ];
        let mut all = Vec::new();
        for (name, args) in rows {
            let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
            let document = self.document(self.folder.path(), &args)?;
            all.push((name.to_owned(), document.ok_or_else(|| format!("{name}: no verdict"))?));
        }
        Ok(all)
    }

    /// Makes the evidence.
    fn make(&self) -> Result<(), Failed> {
        fs::write(self.path("file"), "content")?;
        LayoutBuilder::create(&self.path("app")).image("1.0", "an image");
        for name in ["release", "other", "stranger"] {
            self.sign(&["keygen", name]);
        }
        self.sign(&["image", "oci:app:1.0", "--key", "release.key", "--annotation", "env=prod"]);
        self.sign(&["image", "oci:app:1.0", "--key", "other.key", "--format", "legacy"]);
        let vex = json!({"@context": "https://openvex.dev/ns/v0.2.0", "statements": [], "timestamp": "2024-05-06T07:08:09Z"});
        let workflow = json!({"repository": "https://github.com/acme/app", "ref": "refs/tags/v1", "path": "release.yml"});
        let provenance = json!({
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {"workflow": workflow, "inputs": {"level": "3", "n": 1}},
                "resolvedDependencies": [{
                    "uri": "git+https://github.com/acme/app@refs/tags/v1", "digest": {"gitCommit": "a".repeat(40)},
                }],
            },
            "runDetails": {"builder": {"id": "https://ci.example"}, "metadata": {"finishedOn": "2024-05-06T07:08:09Z"}},
        });
        for (kind, predicate) in [("openvex", vex), ("slsaprovenance1", provenance)] {
            fs::write(self.path("predicate.json"), predicate.to_string())?;
            for (key, format) in [("release.key", "bundle"), ("other.key", "legacy")] {
                let predicate = ["--predicate", "predicate.json", "--format", format];
                self.sign(
                    &[&["attest", "oci:app:1.0", "--type", kind, "--key", key][..], &predicate].concat(),
                );
            }
        }
        self.sign(&["blob", "file", "--bundle", "statement.json", "--key", "release.key"]);
        self.sign(&["blob", "file", "--bundle", "plain.json", "--key", "release.key", "--plain"]);
        let (log, unknown, authority) = (TestLog::default(), TestLog::default(), TestAuthority::default());
        let signed = [
            ("identity-a", IDENTITY, &b"content"[..], &log),
            ("identity-b", "https://ci.example/b", b"content", &log),
            ("unknown", IDENTITY, b"content", &unknown),
            ("another", IDENTITY, b"another", &log),
        ];
        for (name, identity, content, log) in signed {
            let bundle = authority.certify(identity).sign(content, log, TIME);
            fs::write(self.path(&format!("{name}.json")), bundle.to_string())?;
        }
        let root = authority.trusted_root(&[&authority.root], &log);
        fs::write(self.path("root.json"), root.to_string())?;
        Ok(())
    }

    /// Documents for the vectors of other verifiers' tests, using the index of command lines next to them.
    fn of_others(&self, folder: &Path) -> Result<Vec<(String, Value)>, Failed> {
        let mut all = Vec::new();
        for line in fs::read_to_string(folder.join("index.jsonl")).unwrap_or_default().lines() {
            let row: Value = serde_json::from_str(line)?;
            let (Some(name), Some(verb)) = (row["id"].as_str(), row["verb"].as_str()) else { continue };
            let args = row["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let args: Vec<String> = std::iter::once(verb).chain(args).map(str::to_owned).collect();
            if ["image", "attestation", "blob", "tree"].contains(&verb) {
                all.extend(self.document(folder, &args)?.map(|document| (name.to_owned(), document)));
            }
        }
        Ok(all)
    }
}
