//! The cost of lost frames: which snapshots and, with a recovery key, exactly which files they affect, and which of the
//! files are replaced by chunks in other frames.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use jiff::Timestamp;
use lifeboat_core::progress::Unit;
use lifeboat_store::StoreError;

use crate::error::VaultError;
use crate::format::frame_set::FrameSet;
use crate::format::item::Content;
use crate::format::manifest::StreamKind;
use crate::ids::FrameName;
use crate::maintenance::check::Maintenance;
use crate::maintenance::check::survey::{GroupSurvey, Survey};
use crate::restore::open::OpenSnapshot;
use crate::restore::recover::Healer;
use crate::snapshots::history::Recorded;
use crate::snapshots::snapshot::Snapshot;
use crate::snapshots::summary::Summary;

/// A snapshot that needs frames which are not stored whole anywhere.
#[derive(Debug)]
pub struct AffectedSnapshot {
    /// Its id.
    pub id: String,
    /// When it was taken.
    pub time: Timestamp,
    /// Its host.
    pub host: String,
    /// The streams that may be affected, each with its kind and name; all of them, if only a recovery key could tell.
    /// With a recovery key, the names are those that people use.
    pub streams: Vec<(StreamKind, String)>,
    /// How many of its frames are lost.
    pub lost_frames: u64,
    /// The files that need one of them; `None` without a recovery key.
    pub files: Option<Vec<AffectedFile>>,
    /// Why the list of files is incomplete.
    pub unlisted: Vec<String>,
}

/// A file that needs a lost frame.
#[derive(Debug)]
pub struct AffectedFile {
    /// The name of its stream.
    pub stream: String,
    /// Its path in the stream.
    pub path: PathBuf,
    /// Whether all its chunks were found in other frames, so that it can be restored.
    pub replaced: bool,
}

/// The chunks of lost frames that were found elsewhere.
struct Finds {
    healer: Healer,
    slots: HashMap<FrameName, Vec<bool>>,
}

/// The maximum number of slots of a frame.
const SLOTS: usize = crate::format::frame::FRAME_SLOTS;

impl Maintenance {
    /// The snapshots that need frames which are not stored whole anywhere.
    pub(crate) async fn affected_snapshots(
        &self,
        survey: &Survey,
    ) -> Result<Vec<AffectedSnapshot>, VaultError> {
        let mut affected = Vec::new();
        for group in &survey.groups {
            let missing = group.needed.minus(&group.whole());
            if missing.is_empty() {
                continue;
            }
            let mut finds = match &self.restorer {
                Some(restorer) => {
                    let healer =
                        Healer::new(restorer.clone(), restorer.group(group.view.id)?, missing.clone());
                    Some(Finds { healer, slots: HashMap::new() })
                }
                None => None,
            };
            for needs in &group.snapshots {
                self.stop_if_asked()?;
                let Some(frames) = self.frames_needed(group, needs).await? else { continue };
                let lost = frames.and(&missing);
                if lost.is_empty() {
                    continue;
                }
                let recorded = survey.history.snapshots.iter().find(|recorded| {
                    recorded.manifest.as_ref().is_ok_and(|manifest| manifest.id == needs.id)
                });
                if let Some(recorded) = recorded
                    && let Some(one) = self.affected_snapshot(group, recorded, &lost, finds.as_mut()).await?
                {
                    affected.push(one);
                }
            }
        }
        Ok(affected)
    }

    async fn affected_snapshot(
        &self,
        group: &GroupSurvey,
        recorded: &Recorded,
        lost: &FrameSet,
        finds: Option<&mut Finds>,
    ) -> Result<Option<AffectedSnapshot>, VaultError> {
        let Ok(manifest) = &recorded.manifest else { return Ok(None) };
        let part = self.session.repository().part(manifest, &group.view).await?;
        let Ok(part) = part else { return Ok(None) };
        let snapshot =
            Snapshot { manifest: manifest.clone(), summary: Summary::of(&part), stored: recorded.stored };
        let mut affected = AffectedSnapshot {
            id: manifest.id.to_string(),
            time: snapshot.time(),
            host: snapshot.host().to_owned(),
            streams: snapshot.streams().map(|stream| (stream.kind, stream.name.to_owned())).collect(),
            lost_frames: lost.len(),
            files: None,
            unlisted: Vec::new(),
        };
        if let (Some(restorer), Some(finds)) = (&self.restorer, finds) {
            let open = OpenSnapshot::with_part(restorer, snapshot, part).await;
            self.name_files(open, lost, finds, &mut affected).await?;
        }
        Ok(Some(affected))
    }

    /// Walks the item streams of a snapshot to find the files that need lost frames.
    async fn name_files(
        &self,
        open: Result<OpenSnapshot, VaultError>,
        lost: &FrameSet,
        finds: &mut Finds,
        affected: &mut AffectedSnapshot,
    ) -> Result<(), VaultError> {
        let mut files = Vec::new();
        let open = match open {
            Ok(open) => open,
            Err(VaultError::Object(error)) => {
                affected.unlisted.push(error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let named = Box::pin(open.named_streams()).await?;
        affected.streams.iter_mut().zip(named).for_each(|((_, name), named)| *name = named.name);
        for (index, (kind, stream)) in affected.streams.iter().enumerate() {
            self.context.progress.phase("looking for files", Unit::Items, None);
            let mut items = open.items(index)?;
            loop {
                self.stop_if_asked()?;
                let item = match items.next().await {
                    Ok(Some(item)) => item,
                    Ok(None) => break,
                    Err(VaultError::Object(error)) => {
                        let broken = format!("{kind} {stream}: the list of its files breaks off: {error}");
                        affected.unlisted.push(broken);
                        break;
                    }
                    Err(error) => return Err(error),
                };
                self.context.progress.advance(1);
                let Some(content) = &item.content else { continue };
                if let Some(replaced) = finds.look(content, lost).await? {
                    let path = PathBuf::from(OsString::from_vec(item.path.to_vec()));
                    files.push(AffectedFile { stream: stream.clone(), path, replaced });
                }
            }
        }
        affected.files = Some(files);
        Ok(())
    }
}

impl Finds {
    /// `None` for a content that needs no lost frame; else whether everything that it needs of them was found
    /// elsewhere.
    async fn look(&mut self, content: &Content, lost: &FrameSet) -> Result<Option<bool>, StoreError> {
        let mut replaced = None;
        for extent in &content.extents {
            let frame = content.frame(extent);
            if !lost.contains(frame) {
                continue;
            }
            if !self.slots.contains_key(&frame) {
                let found = match self.healer.assemble(frame).await? {
                    Some(found) => (0..SLOTS).map(|slot| found.chunk(slot).is_some()).collect(),
                    None => Vec::new(),
                };
                self.slots.insert(frame, found);
            }
            let slots = self.slots.get(&frame).map_or(&[][..], Vec::as_slice);
            let end = extent.slot.saturating_add(extent.chunks);
            let is_found = (extent.slot..end).all(|slot| slots.get(slot as usize).copied().unwrap_or(false));
            replaced = Some(replaced.unwrap_or(true) && is_found);
        }
        Ok(replaced)
    }
}
