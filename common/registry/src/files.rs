//! The files of a layout: in a folder, or in an archive as `docker save` and `skopeo` write them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::{read_capped, read_file_capped};

/// How many files an archive may hold.
const MAX_FILES: usize = 1 << 16;

/// Where the files of a layout are.
#[derive(Debug)]
pub(crate) enum Files {
    /// In a folder.
    Folder(PathBuf),
    /// In a tar archive.
    Archive(PathBuf),
}

impl Files {
    /// A folder or an archive, whatever lies at `path`.
    pub(crate) fn at(path: &Path) -> Self {
        if path.is_file() { Self::Archive(path.to_owned()) } else { Self::Folder(path.to_owned()) }
    }

    pub(crate) fn is_archive(&self) -> bool {
        matches!(self, Self::Archive(_))
    }

    /// The path of a file, for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Archive(archive) => archive.clone(),
        }
    }

    /// Reads a file of at most `cap` bytes.
    pub(crate) fn read(&self, name: &str, cap: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::Folder(folder) => read_file_capped(&folder.join(name), cap),
            Self::Archive(archive) => {
                let (file, size) = open_member(archive, name)?;
                read_capped(file.take(size), cap)
            }
        }
    }

    /// The digest of a file of any size.
    pub(crate) fn digest(&self, name: &str) -> io::Result<Sha256Digest> {
        match self {
            Self::Folder(folder) => Sha256Digest::of_reader(File::open(folder.join(name))?),
            Self::Archive(archive) => {
                let (file, size) = open_member(archive, name)?;
                Sha256Digest::of_reader(file.take(size))
            }
        }
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).exists(),
            Self::Archive(archive) => members(archive).is_ok_and(|members| members.contains_key(name)),
        }
    }

    /// Keeps other writers of this house out until the file is dropped.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let file = File::open(match self {
            Self::Folder(folder) => folder.join("oci-layout"),
            Self::Archive(archive) => archive.clone(),
        })?;
        file.lock()?;
        Ok(file)
    }

    /// Writes files in this order; each is there whole or not at all. An archive is written anew.
    pub(crate) fn write(&self, changes: &[(String, Vec<u8>)]) -> io::Result<()> {
        match self {
            Self::Folder(folder) => {
                for (name, bytes) in changes {
                    write_atomically(&folder.join(name), bytes)?;
                }
                Ok(())
            }
            Self::Archive(archive) => rewrite(archive, changes),
        }
    }
}

/// The members of an archive: where each begins, and how long it is.
fn members(archive: &Path) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut members = BTreeMap::new();
    let mut reader = tar::Archive::new(File::open(archive)?);
    for entry in reader.entries_with_seek()? {
        let entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        if members.len() >= MAX_FILES {
            return Err(invalid(format!("the archive holds more than {MAX_FILES} files")));
        }
        // Which of the two counts depends on who unpacks it.
        if members.insert(name.clone(), (entry.raw_file_position(), entry.size())).is_some() {
            return Err(invalid(format!("the archive holds `{}` twice", name.escape_default())));
        }
    }
    Ok(members)
}

fn open_member(archive: &Path, name: &str) -> io::Result<(File, u64)> {
    let (position, size) = *members(archive)?.get(name).ok_or(io::ErrorKind::NotFound)?;
    let mut file = File::open(archive)?;
    file.seek(SeekFrom::Start(position))?;
    Ok((file, size))
}

fn rewrite(archive: &Path, changes: &[(String, Vec<u8>)]) -> io::Result<()> {
    members(archive)?;
    let folder = archive.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let target = tempfile::Builder::new().prefix(".lifeboat-").tempfile_in(folder)?;
    let mut builder = tar::Builder::new(target);
    let mut reader = tar::Archive::new(File::open(archive)?);
    for entry in reader.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path.to_string_lossy().trim_start_matches("./").to_owned();
        if changes.iter().any(|(changed, _)| *changed == name) {
            continue;
        }
        let mut header = entry.header().clone();
        if let Some(target) = entry.link_name()?.map(std::borrow::Cow::into_owned) {
            builder.append_link(&mut header, &path, target)?;
        } else {
            builder.append_data(&mut header, &path, &mut entry)?;
        }
    }
    for (name, bytes) in changes {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        builder.append_data(&mut header, name, &bytes[..])?;
    }
    let file = builder.into_inner()?;
    file.as_file().set_permissions(fs::metadata(archive)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(archive).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().expect("the files of a layout lie in folders");
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".lifeboat-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    // Temporary files are private; the files of a layout are as readable as those beside them.
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
        let files = Files::at(&path);
        assert_eq!(files.read("b/c", 3).unwrap(), b"two");
        assert_eq!(files.read("b/c", 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(files.read("x", 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        files.write(&[("a".to_owned(), b"three".to_vec()), ("d".to_owned(), b"four".to_vec())]).unwrap();
        assert_eq!(files.read("a", 9).unwrap(), b"three");
        assert_eq!(files.read("b/c", 9).unwrap(), b"two");
        assert_eq!(files.digest("d").unwrap(), Sha256Digest::of(b"four"));
    }

    #[test]
    fn an_archive_with_a_file_twice_is_refused() {
        let (_folder, path) = archive(&[("a", b"one"), ("a", b"two")]);
        assert_eq!(Files::at(&path).read("a", 9).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
