//! The store's operations, each of which consults the script first.

#![deny(clippy::missing_trait_methods)]

use std::future::{Future, pending};
use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use lifeboat_core::clock::Clock;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result,
};

use super::FaultStore;
use super::fault::{Answer, Effect, Ending};
use super::log::{Call, Operation};
use super::script::{Landing, Verdict};

/// The part of a fault that is left to the code that carries out the operation.
enum Change {
    Nothing,
    Effect(Effect),
}

impl FaultStore {
    /// Logs a call and lets the script decide: carries it out, carries it out but loses the answer, or fails it.
    async fn meet<T>(
        &self,
        operation: Operation,
        key: &Path,
        bytes: u64,
        act: impl Future<Output = Result<T>>,
    ) -> Result<(T, u64, Change)> {
        self.meet_write(operation, key, bytes, false, act).await
    }

    async fn meet_write<T>(
        &self,
        operation: Operation,
        key: &Path,
        bytes: u64,
        is_conditional: bool,
        act: impl Future<Output = Result<T>>,
    ) -> Result<(T, u64, Change)> {
        let key = key.as_ref();
        let (number, verdict) = self.note(operation, key, bytes, is_conditional);
        let (answer, is_landing) = match verdict {
            Verdict::Pass => return Ok((act.await?, number, Change::Nothing)),
            Verdict::Die(landing) => (Some(Answer::Gone), landing == Landing::Landed),
            Verdict::Meet(fault) => match fault.0 {
                Effect::Wait(gate) => {
                    gate.pass().await;
                    if self.is_dead() {
                        return Err(Answer::Gone.error(key));
                    }
                    return Ok((act.await?, number, Change::Nothing));
                }
                Effect::Answer(answer) => (Some(answer), false),
                Effect::LostResponse(answer) => (Some(answer), true),
                Effect::Hang => (None, false),
                Effect::LandAndHang => (None, true),
                effect @ (Effect::Body(..) | Effect::Listing(_)) => {
                    return Ok((act.await?, number, Change::Effect(effect)));
                }
            },
        };
        if is_landing {
            // The caller never learns the result.
            let _ = act.await;
        }
        match answer {
            Some(answer) => Err(answer.error(key)),
            None => pending().await,
        }
    }

    fn note(&self, operation: Operation, key: &str, bytes: u64, is_conditional: bool) -> (u64, Verdict) {
        let mut state = self.state();
        let verdict = state.script.judge(operation, key, is_conditional);
        let number = state.script.count();
        let is_faulted = !matches!(verdict, Verdict::Pass);
        state.log.push(Call { number, operation, key: key.to_owned(), bytes, is_conditional, is_faulted });
        (number, verdict)
    }

    fn note_bytes(&self, number: u64, bytes: u64) {
        if let Some(call) = self.state().log.iter_mut().rev().find(|call| call.number == number) {
            call.bytes = bytes;
        }
    }

    fn date(&self, path: &Path) {
        let now = self.0.clock.now();
        self.state().times.insert(path.clone(), now);
    }

    fn dated(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(time) = self.state().times.get(&meta.location) {
            meta.last_modified = SystemTime::try_from(*time).expect("a test's time is the system's").into();
        }
        meta
    }

    async fn delete_one(&self, path: Path) -> Result<Path> {
        let act = async {
            self.0.inner.delete(&path).await?;
            self.state().times.remove(&path);
            Ok(())
        };
        self.meet(Operation::Delete, &path, 0, act).await?;
        Ok(path)
    }

    async fn entries(&self, prefix: Option<Path>) -> Result<Vec<ObjectMeta>> {
        let act = self.0.inner.list(prefix.as_ref()).map_ok(|meta| self.dated(meta)).try_collect();
        let key = prefix.clone().unwrap_or_default();
        let (entries, number, change): (Vec<_>, _, _) = self.meet(Operation::List, &key, 0, act).await?;
        let entries = match change {
            Change::Effect(Effect::Listing(change)) => change(entries),
            _ => entries,
        };
        self.note_bytes(number, entries.len() as u64);
        Ok(entries)
    }

    fn stream_entries(
        &self,
        prefix: Option<&Path>,
        keep: impl Fn(&ObjectMeta) -> bool + Send + 'static,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let entries = async move {
            let entries = store.entries(prefix).await?;
            Ok::<_, Error>(stream::iter(entries.into_iter().map(Ok)))
        };
        stream::once(entries).try_flatten().try_filter(move |meta| std::future::ready(keep(meta))).boxed()
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        let bytes = payload.content_length() as u64;
        let is_conditional = !matches!(opts.mode, PutMode::Overwrite);
        if self.state().ignores_conditions {
            opts.mode = PutMode::Overwrite;
        }
        let act = async {
            let done = self.0.inner.put_opts(location, payload, opts).await?;
            self.date(location);
            Ok(done)
        };
        Ok(self.meet_write(Operation::Put, location, bytes, is_conditional, act).await?.0)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let act = async {
            let operation = "an upload in parts, which no fault could reach".to_owned();
            Err(Error::NotImplemented { operation, implementer: self.to_string() })
        };
        Ok(self.meet(Operation::Multipart, location, 0, act).await?.0)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = match &options {
            GetOptions { head: true, .. } => Operation::Head,
            GetOptions { range: Some(_), .. } => Operation::GetRange,
            _ => Operation::Get,
        };
        let act = self.0.inner.get_opts(location, options);
        let (mut found, number, change) = self.meet(operation, location, 0, act).await?;
        found.meta = self.dated(found.meta);
        if operation != Operation::Head {
            self.note_bytes(number, found.range.end - found.range.start);
        }
        let Change::Effect(Effect::Body(change, ending)) = change else { return Ok(found) };
        let (meta, range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
        let parts = stream::iter([Ok(change(found.bytes().await?))]);
        let payload = match ending {
            Ending::Quietly => parts.boxed(),
            Ending::Broken => {
                parts.chain(stream::iter([Err(Answer::Interrupted.error(location.as_ref()))])).boxed()
            }
            Ending::Never => parts.chain(stream::pending()).boxed(),
        };
        let payload = GetResultPayload::Stream(payload);
        Ok(GetResult { payload, meta, range, attributes, extensions: Extensions::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut parts = Vec::new();
        for range in ranges {
            parts.push(self.get_range(location, range.clone()).await?);
        }
        Ok(parts)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move { store.delete_one(location?).await }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.stream_entries(prefix, |_| true)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        self.stream_entries(prefix, move |meta| meta.location > offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let key = prefix.cloned().unwrap_or_default();
        let act = self.0.inner.list_with_delimiter(prefix);
        let (mut found, number, change) = self.meet(Operation::List, &key, 0, act).await?;
        found.objects = found.objects.into_iter().map(|meta| self.dated(meta)).collect();
        if let Change::Effect(Effect::Listing(change)) = change {
            found.objects = change(found.objects);
        }
        self.note_bytes(number, found.objects.len() as u64);
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let act = async {
            self.0.inner.copy_opts(from, to, options).await?;
            self.date(to);
            Ok(())
        };
        self.meet(Operation::Copy, to, 0, act).await.map(drop)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let act = async {
            self.0.inner.rename_opts(from, to, options).await?;
            self.date(to);
            self.state().times.remove(from);
            Ok(())
        };
        self.meet(Operation::Rename, to, 0, act).await.map(drop)
    }
}
