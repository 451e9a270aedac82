//! What a group's snapshots need, and which runs they say are over.

use std::collections::HashSet;

use super::plan::{Planner, is_old, not_whole};
use super::runs::Runs;
use crate::error::VaultError;
use crate::format::layout;
use crate::format::manifest::Part;
use crate::ids::RunId;
use crate::snapshots::history::History;

impl Planner<'_> {
    /// Reads the parts of the group's snapshots: what they need, and which runs are over.
    pub(super) async fn read_snapshots(&mut self, history: &History) -> Result<Runs, VaultError> {
        let mut runs = Runs::default();
        runs.note_marks(self.group, self.listing);
        let mut kept_parts = HashSet::new();
        let mut left = Vec::new();
        for recorded in &history.snapshots {
            let key = layout::snapshot(recorded.writer, recorded.sequence);
            if recorded.group != self.group.id {
                continue;
            }
            let Ok(manifest) = &recorded.manifest else {
                // A live one that cannot be read holds the whole group back.
                if !recorded.is_live() {
                    self.plan.dead.extend(self.below(&format!("{key}.sig")).map(|(key, _)| key.clone()));
                    self.plan.dead.insert(key);
                }
                continue;
            };
            let part_key = layout::part(self.group.id, &manifest.part);
            let part = self.repository.part(manifest, self.group).await?;
            if recorded.is_live() {
                let part = match part {
                    Ok(part) => part,
                    Err(error) => match self.repository.unnamed_part(&part_key, self.group).await? {
                        // Another writer's part, whole: this manifest brings nothing back, whatever is kept.
                        Ok(_) => {
                            self.plan
                                .warnings
                                .push(format!("`{key}` names a part of another writer: {error}"));
                            continue;
                        }
                        Err(_) => return Err(not_whole(&error)),
                    },
                };
                runs.note_snapshot(part.run, recorded.writer);
                kept_parts.insert(part_key);
                self.need(&part);
            } else {
                let run = part.ok().map(|part| part.run);
                if let Some(run) = run {
                    runs.note_snapshot(run, recorded.writer);
                }
                left.push((run, key, part_key));
            }
        }
        let mut left_parts = HashSet::new();
        for (run, key, part_key) in left {
            let is_evidence = run.is_some_and(|run| self.could_be_under_way(run));
            if !is_evidence {
                self.plan.dead.extend(self.below(&format!("{key}.sig")).map(|(key, _)| key.clone()));
                self.plan.dead.insert(key);
            }
            if !kept_parts.contains(&part_key) && self.listing.contains_key(&part_key) {
                if is_evidence {
                    kept_parts.insert(part_key);
                } else {
                    left_parts.insert(part_key);
                }
            }
        }
        self.read_unnamed_parts(&mut runs, &kept_parts, &left_parts).await?;
        self.plan.dead.extend(left_parts);
        runs.find_under_way(self.repository, self.group, self.listing, self.now).await?;
        Ok(runs)
    }

    /// Whether a run, without its snapshot, would look as if it were under way: its registration is young, and stays since a
    /// snapshot needs what the run stored. Its forgotten manifest is the evidence that it is over, and stays as long.
    fn could_be_under_way(&self, run: RunId) -> bool {
        let registration = self.listing.get(&layout::run(self.group.id, run));
        registration.is_some_and(|entry| !is_old(entry, self.now)) && self.plan.live.has_run(run)
    }

    /// A part that no manifest names is of a run that was killed just before its end, or that is about to end. Until a
    /// lease after it was stored, the frames that it needs stay: its run has taken its last look by then, or takes
    /// another one. Of a run that has marked its end, no manifest follows.
    async fn read_unnamed_parts(
        &mut self,
        runs: &mut Runs,
        kept: &HashSet<String>,
        left: &HashSet<String>,
    ) -> Result<(), VaultError> {
        for (key, entry) in self.below(&layout::parts(self.group.id)) {
            if kept.contains(key) || left.contains(key) {
                continue;
            }
            if is_old(entry, self.now) {
                self.plan.dead.insert(key.clone());
                continue;
            }
            match self.repository.unnamed_part(key, self.group).await? {
                Ok(part) if runs.has_ended(self.repository, self.group, part.run).await? => {
                    self.plan.dead.insert(key.clone());
                }
                Ok(part) => self.need(&part),
                Err(error) => self.plan.warnings.push(error.to_string()),
            }
        }
        Ok(())
    }

    fn need(&mut self, part: &Part) {
        self.plan.live.extend(&part.needed_frames());
    }
}
