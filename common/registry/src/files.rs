//! The files of a layout: in a folder, or in an archive as `docker save` and `skopeo` write them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_file_capped;
use lifeboat_strict::tar::{Archive, normalise};

/// Where the files of a layout are.
#[derive(Debug)]
pub(crate) enum Files {
    /// In a folder.
    Folder(PathBuf),
    /// In a tar archive, which stays open for all reads.
    Archive(PathBuf, Archive),
}

impl Files {
    /// Opens the folder or archive at `path`. An archive that programs could read differently is an error
    /// (`lifeboat_strict::tar::refusal`).
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if path.is_file() {
            return Ok(Self::Archive(path.to_owned(), Archive::open(path)?));
        }
        Ok(Self::Folder(path.to_owned()))
    }

    pub(crate) fn is_archive(&self) -> bool {
        matches!(self, Self::Archive(..))
    }

    /// The path of a file, for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Archive(archive, _) => archive.clone(),
        }
    }

    /// Reads a file of at most `cap` bytes.
    pub(crate) fn read(&self, name: &str, cap: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::Folder(folder) => read_file_capped(&folder.join(within(name)?), cap),
            Self::Archive(_, archive) => archive.read(name, cap),
        }
    }

    /// The digest of a file of any size.
    pub(crate) fn digest(&self, name: &str) -> io::Result<Sha256Digest> {
        match self {
            Self::Folder(folder) => Sha256Digest::of_reader(File::open(folder.join(within(name)?))?),
            Self::Archive(_, archive) => archive.digest(name),
        }
    }

    /// The digest of the unpacked content of a file of an archive; `None` if it is not compressed with gzip.
    pub(crate) fn unpacked_digest(&self, name: &str) -> io::Result<Option<Sha256Digest>> {
        match self {
            Self::Folder(_) => Ok(None),
            Self::Archive(_, archive) => archive.unpacked_digest(name),
        }
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).exists(),
            Self::Archive(_, archive) => archive.contains(name),
        }
    }

    /// The names of the files in an archive.
    pub(crate) fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Folder(_) => Box::new(std::iter::empty()),
            Self::Archive(_, archive) => Box::new(archive.names()),
        }
    }

    /// Excludes other Lifeboat writers until the returned file is dropped.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let path = match self {
            Self::Folder(folder) => folder.join("oci-layout"),
            Self::Archive(archive, _) => archive.clone(),
        };
        loop {
            let file = File::open(&path)?;
            file.lock()?;
            // Another writer, which held the lock of the archive, has replaced the file.
            let (locked, there) = (file.metadata()?, fs::metadata(&path)?);
            if (locked.dev(), locked.ino()) == (there.dev(), there.ino()) {
                return Ok(file);
            }
        }
    }

    /// Writes files in this order, each one atomically. An archive is rewritten.
    pub(crate) fn write(&self, changes: &[(String, Vec<u8>)]) -> io::Result<()> {
        match self {
            Self::Folder(folder) => {
                for (name, bytes) in changes {
                    write_atomically(&folder.join(name), bytes)?;
                }
                Ok(())
            }
            Self::Archive(path, archive) => rewrite(path, archive, changes),
        }
    }
}

/// A name from a document, which must stay within the folder.
fn within(name: &str) -> io::Result<String> {
    normalise(name)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a name leads out of the folder"))
}

/// Rewrites the archive; unchanged files are copied byte for byte.
fn rewrite(path: &Path, archive: &Archive, changes: &[(String, Vec<u8>)]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut target = tempfile::Builder::new().prefix(".lifeboat-").tempfile_in(folder)?;
    let changed: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    io::copy(&mut archive.without(&changed), &mut target)?;
    let mut builder = tar::Builder::new(target);
    for (name, bytes) in changes {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        builder.append_data(&mut header, name, &bytes[..])?;
    }
    let file = builder.into_inner()?;
    file.as_file().set_permissions(fs::metadata(path)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().expect("the files of a layout lie in folders");
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".lifeboat-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    // Temporary files are private; the files of a layout get the permissions of those next to them.
    let mode = fs::metadata(path)
        .or_else(|_| fs::metadata(folder))
        .map_or(0o644, |m| m.permissions().mode() & 0o666);
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.tar");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap();
        (folder, path)
    }

    #[test]
    fn an_archive_is_read_like_a_folder_and_written_anew() {
        let (_folder, path) = archive(&[("a", b"one"), ("b/c", b"two")]);
        let files = Files::open(&path).unwrap();
        assert_eq!(files.read("b/c", 3).unwrap(), b"two");
        assert_eq!(files.read("b/c", 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(files.read("x", 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        files.write(&[("a".to_owned(), b"three".to_vec()), ("d".to_owned(), b"four".to_vec())]).unwrap();
        assert_eq!(files.read("a", 9).unwrap(), b"one");
        let files = Files::open(&path).unwrap();
        assert_eq!(files.read("a", 9).unwrap(), b"three");
        assert_eq!(files.read("b/c", 9).unwrap(), b"two");
        assert_eq!(files.digest("d").unwrap(), Sha256Digest::of(b"four"));
    }

    /// An archive of a file `layers/a/layer.tar`, and of links: kind, name, target.
    fn linked(links: &[(tar::EntryType, &str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let (folder, path) = archive(&[("layers/a/layer.tar", b"layer")]);
        let bytes = fs::read(&path).unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, name, target) in links {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
        }
        let links = builder.into_inner().unwrap();
        // The links come first: their targets may come later.
        let links = &links[..links.len() - 1024];
        fs::write(&path, [links, &bytes].concat()).unwrap();
        (folder, path)
    }

    #[test]
    fn links_within_the_archive_are_followed() {
        use tar::EntryType::{Link, Symlink};
        let (_folder, path) = linked(&[
            (Symlink, "layers/b/layer.tar", "../a/layer.tar"),
            (Symlink, "layers/c/layer.tar", "./../b/layer.tar"),
            (Link, "d", "layers/a/layer.tar"),
        ]);
        let files = Files::open(&path).unwrap();
        for name in ["layers/a/layer.tar", "layers/b/layer.tar", "layers/c/layer.tar", "d"] {
            assert_eq!(files.read(name, 9).unwrap(), b"layer", "{name}");
            assert_eq!(files.digest(name).unwrap(), Sha256Digest::of(b"layer"), "{name}");
        }
        // They survive a rewrite.
        files.write(&[("more".to_owned(), b"more".to_vec())]).unwrap();
        let files = Files::open(&path).unwrap();
        assert_eq!(files.read("layers/c/layer.tar", 9).unwrap(), b"layer");
    }

    #[test]
    fn links_that_lead_out_or_nowhere_are_refused() {
        use tar::EntryType::{Link, Symlink};
        let secret = tempfile::NamedTempFile::new().unwrap();
        let outside = secret.path().to_str().unwrap();
        for (kind, name, target) in [
            (Symlink, "x", outside),
            (Symlink, "a/x", "../../layers/a/layer.tar"),
            (Symlink, "x", "absent"),
            (Symlink, "x", "x"),
            (Symlink, "x", "layers/a"),
            (Link, "layers/x", "../layers/a/layer.tar"),
            (Link, "layers/x", "a/layer.tar"),
        ] {
            let (_folder, path) = linked(&[(kind, name, target)]);
            let error = Files::open(&path).unwrap().read(name, 9).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name} -> {target}: {error}");
            // The other files of the archive are not affected.
            assert_eq!(Files::open(&path).unwrap().read("layers/a/layer.tar", 9).unwrap(), b"layer");
        }
        let (_folder, path) = linked(&[(Symlink, "x", "y"), (Symlink, "y", "x")]);
        let error = Files::open(&path).unwrap().digest("x").unwrap_err().to_string();
        assert_eq!(error, "`x` is a link that leads from link to link");
        // A link and a file with the same name are ambiguous.
        let (_folder, path) = linked(&[(Symlink, "layers/a/layer.tar", "b")]);
        let error = Files::open(&path).unwrap_err().to_string();
        assert!(error.ends_with("twice"), "{error}");
    }

    #[test]
    fn an_archive_with_a_file_twice_is_refused() {
        let (_folder, path) = archive(&[("a", b"one"), ("a", b"two")]);
        assert_eq!(Files::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
