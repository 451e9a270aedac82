//! Real stores: the contract on four servers, Object Lock, credentials with few rights, full and read-only file
//! systems, and what reaches the disk when.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use libtest_mimic::Trial;
use lifeboat_core::random::{Entropy, OsEntropy};
use lifeboat_core::{Fault as _, Kind};
use lifeboat_store::{Created, Location, OpenOptions, Settings, Store, StoreError};
use lifeboat_testkit::contract;
use lifeboat_tests::command::lifeboat;
use lifeboat_tests::gate::{Missing, listening, setting, trial};
use lifeboat_tests::s3::S3;

use crate::docker::runtime;

const BYTES: Bytes = Bytes::from_static(b"bytes");

/// A store on a server, below a prefix that no other run uses.
#[derive(Debug, Clone)]
struct Remote {
    location: String,
    settings: Settings,
}

impl Remote {
    fn new(scheme: &str, bucket: &str, settings: impl IntoIterator<Item = (String, String)>) -> Self {
        let entropy: &dyn Entropy = &OsEntropy;
        let prefix = format!("store-{:016x}", u64::from_le_bytes(entropy.array::<8>()));
        Self { location: format!("{scheme}://{bucket}/{prefix}"), settings: settings.into_iter().collect() }
    }

    fn s3(server: &S3) -> Self {
        Self::new("s3", &server.bucket, server.variables())
    }

    fn gcs() -> Result<Self, Missing> {
        let host = listening("LIFEBOAT_TEST_GCS_ENDPOINT")?;
        let bucket = setting("LIFEBOAT_TEST_GCS_BUCKET")?;
        Ok(Self::new("gs", &bucket, [("STORAGE_EMULATOR_HOST".to_owned(), host)]))
    }

    fn azure() -> Result<Self, Missing> {
        let endpoint = setting("LIFEBOAT_TEST_AZURE_ENDPOINT")?;
        let (account, key) = (setting("LIFEBOAT_TEST_AZURE_ACCOUNT")?, setting("LIFEBOAT_TEST_AZURE_KEY")?);
        let container = setting("LIFEBOAT_TEST_AZURE_CONTAINER")?;
        let connection = format!("AccountName={account};AccountKey={key};BlobEndpoint={endpoint};");
        Ok(Self::new("az", &container, [("AZURE_STORAGE_CONNECTION_STRING".to_owned(), connection)]))
    }

    fn prefix(&self) -> &str {
        self.location.rsplit('/').next().unwrap()
    }

    async fn open(&self) -> Store {
        let location = Location::parse(&self.location).unwrap();
        Store::open(&location, &self.settings, OpenOptions::default()).await.unwrap()
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    let (minio, versitygw) = (S3::find("LIFEBOAT_TEST_S3"), S3::find("LIFEBOAT_TEST_S3_2"));
    let contract_on = |name: &str, remote: Result<Remote, Missing>| {
        trial(&format!("store::{name}_keeps_the_contract"), remote, |remote| {
            runtime().block_on(async { contract::check(&remote.open().await).await });
            Ok(())
        })
    };
    let on_minio = |name: &str, test: fn(&S3)| {
        trial(name, minio.clone(), move |server| {
            test(&server);
            Ok(())
        })
    };
    let on_tmpfs = |name: &str, test: fn(&Tmpfs)| {
        trial(name, Tmpfs::mount(), move |tmpfs| {
            test(&tmpfs);
            Ok(())
        })
    };
    vec![
        contract_on("minio", minio.as_ref().map(Remote::s3).map_err(Clone::clone)),
        contract_on("versitygw", versitygw.as_ref().map(Remote::s3).map_err(Clone::clone)),
        contract_on("google_cloud_storage", Remote::gcs()),
        contract_on("azure", Remote::azure()),
        on_minio("store::a_bucket_with_object_lock_takes_objects_and_keeps_them", object_lock),
        on_minio("store::rights_to_put_get_and_list_below_the_prefix_suffice", few_rights),
        on_tmpfs("store::a_full_disk_is_told_leaves_nothing_and_can_be_used_on", full_disk),
        on_tmpfs("store::a_read_only_folder_is_told_and_can_be_read", read_only_folder),
        trial(
            "store::objects_are_on_the_disk_before_and_their_names_after_they_are_linked",
            strace(),
            |()| {
                flushed_to_the_disk();
                Ok(())
            },
        ),
    ]
}

/// Every object is a locked version: it cannot be overwritten by name, and a delete only hides it.
fn object_lock(server: &S3) {
    let bucket = "lifeboat-test-locked";
    server.make_locked_bucket(bucket);
    let remote = Remote::new("s3", bucket, server.variables());
    runtime().block_on(async {
        let store = remote.open().await;
        assert_eq!(store.create("a/object", BYTES).await.unwrap(), Created::Now);
        assert_eq!(store.create("a/object", BYTES).await.unwrap(), Created::Before);
        let error = store.create("a/object", Bytes::from_static(b"other")).await.unwrap_err();
        assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
        assert!(store.keeps_conditions("a/object", BYTES).await.unwrap());
        assert_eq!(store.read("a/object", 5).await.unwrap(), BYTES);
        store.delete("a/object").await.unwrap();
        assert_eq!(store.list("").await.unwrap(), []);
    });
    let versions = server.request("GET", &format!("/{bucket}?prefix={}&versions=", remote.prefix()), &[], "");
    assert!(versions.body.contains("<Size>5</Size>"), "{versions:?}");
    assert!(versions.body.contains("<DeleteMarker>"), "{versions:?}");
}

fn few_rights(server: &S3) {
    let remote = Remote::s3(server);
    let (bucket, prefix) = (&server.bucket, remote.prefix());
    let policy = format!(
        r#"{{"Version": "2012-10-17", "Statement": [
            {{"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": ["arn:aws:s3:::{bucket}/{prefix}/*"]}},
            {{"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::{bucket}"],
              "Condition": {{"StringLike": {{"s3:prefix": ["{prefix}/*"]}}}}}}
        ]}}"#
    );
    let few = server.variables_with(&server.keys_with_policy(&policy)).into_iter().collect();
    let limited = Remote { settings: few, ..remote.clone() };
    runtime().block_on(async {
        let store = limited.open().await;
        assert_eq!(store.create("a/object", BYTES).await.unwrap(), Created::Now);
        assert_eq!(store.create("a/object", BYTES).await.unwrap(), Created::Before);
        let error = store.create("a/object", Bytes::from_static(b"other")).await.unwrap_err();
        assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
        assert!(store.keeps_conditions("a/object", BYTES).await.unwrap());
        assert_eq!(store.read("a/object", 5).await.unwrap(), BYTES);
        assert_eq!(store.read_range("a/object", 1..3).await.unwrap(), "yt");
        assert_eq!(store.list("").await.unwrap().len(), 1);
        assert_eq!(store.list("a").await.unwrap().len(), 1);

        let error = store.delete("a/object").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{error:?}");
        assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
        let elsewhere = Remote { location: format!("s3://{}/elsewhere", server.bucket), ..limited };
        let error = elsewhere.open().await.create("a/object", BYTES).await.unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
        contract::clear(&remote.open().await).await;
    });
}

/// A file system of one MiB in memory, as long as the value lives.
struct Tmpfs {
    folder: tempfile::TempDir,
}

impl Tmpfs {
    fn mount() -> Result<Self, Missing> {
        let folder = tempfile::tempdir().map_err(|error| Missing(error.to_string()))?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "lifeboat-test"])
            .arg(folder.path())
            .output()
            .map_err(|error| Missing(format!("mount does not run: {error}")))?;
        if output.status.success() {
            return Ok(Self { folder });
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Missing(format!("no small file system can be mounted ({said})")))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &options]).arg(self.folder.path()).status().unwrap();
        assert!(status.success(), "{options}");
    }

    async fn open(&self) -> Store {
        let location = Location::Folder(self.folder.path().join("store"));
        let options = OpenOptions { create_folder: true, ..OpenOptions::default() };
        Store::open(&location, &Settings::new(), options).await.unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: an open handle must not keep the test's folder from being removed.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

fn full_disk(tmpfs: &Tmpfs) {
    runtime().block_on(async {
        let store = tmpfs.open().await;
        let half = Bytes::from(vec![7; 600 << 10]);
        store.create("packs/first", half.clone()).await.unwrap();
        for _ in 0..3 {
            let error = store.create("packs/second", half.clone()).await.unwrap_err();
            assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
            assert_eq!(error.kind(), Kind::Refused);
            assert!(error.advice().unwrap().contains("nothing was lost"));
        }
        // Neither a partial object nor a staging file keeps the disk full.
        assert_eq!(tmpfs.files(), [tmpfs.folder.path().join("store/packs/first")]);
        assert_eq!(store.entry("packs/second").await.unwrap(), None);
        assert_eq!(store.list("").await.unwrap().len(), 1);
        assert_eq!(store.read("packs/first", 1 << 20).await.unwrap(), half);

        store.create("small", BYTES).await.unwrap();
        store.delete("packs/first").await.unwrap();
        assert_eq!(store.create("packs/second", half.clone()).await.unwrap(), Created::Now);
    });
}

fn read_only_folder(tmpfs: &Tmpfs) {
    runtime().block_on(async {
        let store = tmpfs.open().await;
        store.create("a/object", BYTES).await.unwrap();
        tmpfs.remount("ro");
        for error in [
            store.create("a/other", BYTES).await.unwrap_err(),
            store.create("b/other", BYTES).await.unwrap_err(),
            store.delete("a/object").await.unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
            assert!(error.advice().unwrap().contains("mounted read-only"), "{error:?}");
        }
        // Writers that find it need not write.
        assert_eq!(store.read("a/object", 5).await.unwrap(), BYTES);
        assert_eq!(store.list("").await.unwrap().len(), 1);
        tmpfs.remount("rw");
        assert_eq!(store.create("a/other", BYTES).await.unwrap(), Created::Now);
    });
}

fn strace() -> Result<(), Missing> {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Missing(format!("strace cannot trace here ({status})"))),
        Err(error) => Err(Missing(format!("strace does not run: {error}"))),
    }
}

/// Watches the system calls of an `init` in a folder.
fn flushed_to_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let (repository, traces) = (at("deep/in/repository"), at("traces"));
    fs::create_dir(&traces).unwrap();
    let init = lifeboat(
        env!("CARGO_BIN_EXE_tested-backup"),
        home.path(),
        ["init", "--recovery-key", "one.key", "--recovery-key", "two.key", "--writer-key", "writer.key"],
    );
    let mut strace = Command::new("strace");
    // Each thread has its file, so that calls are in order and none is split.
    strace
        .args(["-ff", "-y", "-s", "4096", "-e", "trace=link,linkat,fsync,mkdir,mkdirat", "-o"])
        .arg(traces.join("of"));
    strace.arg(init.get_program()).args(init.get_args()).current_dir(home.path());
    strace.envs(init.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = strace.env("LIFEBOAT_REPOSITORY", &repository).output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let (mut objects, mut folders) = (0, 0);
    for entry in fs::read_dir(&traces).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let calls: Vec<&str> = text.lines().filter(|line| line.ends_with(" = 0")).collect();
        for (place, call) in calls.iter().enumerate() {
            let flushes = |calls: &[&str], path: &Path| {
                let path = format!("<{}>", path.display());
                calls.iter().any(|call| call.starts_with("fsync(") && call.contains(&path))
            };
            // A call refers to a folder by its handle, which strace shows with its path, and to what is in it by name.
            let pieces: Vec<&str> = call.split('"').collect();
            let mut paths = pieces.chunks(2).filter_map(|piece| {
                let [before, name] = piece else { return None };
                let folder = before.rsplit_once('<').and_then(|(_, at)| Some(at.split_once('>')?.0));
                Some(folder.map_or_else(|| PathBuf::from(name), |folder| Path::new(folder).join(name)))
            });
            if call.starts_with("link") {
                let (staged, object) = (paths.next().unwrap(), paths.next().unwrap());
                assert!(flushes(&calls[..place], &staged), "{call} comes before its bytes\n{text}");
                assert!(flushes(&calls[place..], object.parent().unwrap()), "{call} is not kept\n{text}");
                objects += 1;
            } else if call.starts_with("mkdir") && paths.clone().any(|path| path.starts_with(at("deep"))) {
                let made = paths.next().unwrap();
                assert!(flushes(&calls[place..], made.parent().unwrap()), "{call} is not kept\n{text}");
                folders += 1;
            }
        }
    }
    assert!(objects >= 5 && folders >= 5, "{objects} objects, {folders} folders");
}
