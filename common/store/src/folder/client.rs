//! A folder as an object storage client, so that a store retries and reports all operations in the same way.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, Extensions, GetOptions, GetRange, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use super::walk::{meta, size};
use super::{Folder, Wrong, unblocked};

/// How much is read at once.
const READ_BYTES: u64 = 1 << 20;

impl Folder {
    fn get(&self, location: Path, wanted: Option<GetRange>, head: bool) -> Result<GetResult, Wrong> {
        let key = location.as_ref();
        let (payload, meta, range) = if head {
            let meta = meta(&self.look_at(key)?, location);
            (stream::empty().boxed(), meta, 0..0)
        } else {
            let (file, stat) = self.open_object(key)?;
            let range = match wanted {
                None => 0..u64::MAX,
                Some(GetRange::Bounded(range)) => range,
                Some(GetRange::Offset(start)) => start..u64::MAX,
                Some(GetRange::Suffix(bytes)) => size(&stat).saturating_sub(bytes)..u64::MAX,
            };
            let range = range.start.min(size(&stat))..range.end.min(size(&stat));
            (read(file, key.to_owned(), range.clone()), meta(&stat, location), range)
        };
        let payload = GetResultPayload::Stream(payload);
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes: Attributes::default(),
            extensions: Extensions::default(),
        })
    }

    fn does_not(&self, operation: &str) -> Error {
        Error::NotImplemented { operation: operation.to_owned(), implementer: self.to_string() }
    }
}

/// The bytes of a range, as far as the file still has them.
fn read(file: File, key: String, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    let parts = stream::try_unfold((file, range.start), move |(file, at)| {
        let (key, end) = (key.clone(), range.end);
        async move {
            if at >= end {
                return Ok(None);
            }
            let part = unblocked({
                let key = key.clone();
                move || {
                    let (part, file) =
                        read_part(file, at..end).map_err(|error| Wrong::at("read", &key, error))?;
                    Ok((!part.is_empty()).then(|| {
                        let next = at + part.len() as u64;
                        (Bytes::from(part), (file, next))
                    }))
                }
            });
            part.await.map_err(|wrong| wrong.told(&key))
        }
    });
    parts.boxed()
}

fn read_part(mut file: File, range: Range<u64>) -> io::Result<(Vec<u8>, File)> {
    let bytes = (range.end - range.start).min(READ_BYTES);
    let mut part = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.seek(SeekFrom::Start(range.start))?;
    (&file).take(bytes).read_to_end(&mut part)?;
    Ok((part, file))
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a folder")
    }
}

#[async_trait]
impl ObjectStore for Folder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (folder, key) = (self.clone(), location.to_string());
        let parts: Vec<Bytes> = payload.into_iter().collect();
        let written = unblocked(move || folder.write(&key, &parts, &options.mode)).await;
        written.map_err(|wrong| wrong.told(location.as_ref()))?;
        Ok(PutResult { e_tag: None, version: None, extensions: Extensions::default() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (folder, place) = (self.clone(), location.clone());
        let found = unblocked(move || folder.get(place, options.range, options.head)).await;
        found.map_err(|wrong| wrong.told(location.as_ref()))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let folder = self.clone();
        let deleted = locations.and_then(move |location| {
            let (folder, key) = (folder.clone(), location.to_string());
            async move {
                let removed = unblocked(move || folder.remove(&key)).await;
                removed.map_err(|wrong| wrong.told(location.as_ref()))?;
                Ok(location)
            }
        });
        deleted.boxed()
    }

    /// A store lists a folder together with what was passed over, which this interface cannot express.
    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::iter([Err(self.does_not("list"))]).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(self.does_not("list_with_delimiter"))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(self.does_not("put_multipart"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(self.does_not("copy"))
    }
}
