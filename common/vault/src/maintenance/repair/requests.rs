//! Snapshots that cannot be repaired, and damaged requests to forget.

use lifeboat_core::Sha256Digest;

use crate::error::VaultError;
use crate::format::layout;
use crate::format::object_name::Name;
use crate::format::request::Request;
use crate::ids::WriterId;
use crate::maintenance::check::survey::Survey;
use crate::maintenance::check::{DamageKind, Findings, Maintenance};
use crate::maintenance::repair::Repairer;
use crate::maintenance::repair::decisions::{self, FoundRequest};

/// How many withheld snapshots are given up at a time.
const MOST_WITHHELD: usize = 10_000;

impl Maintenance {
    pub(crate) async fn repair_requests(
        &self,
        survey: &Survey,
        findings: &Findings,
        forget_damaged: bool,
        repairer: &mut Repairer<'_>,
    ) -> Result<(), VaultError> {
        if !repairer.may_remove {
            return Ok(());
        }
        let mut removed = Vec::new();
        for damage in findings.damage.iter().filter(|damage| damage.kind == DamageKind::Altered) {
            let Some(Name::Forget { writer, sequence }) = Name::parse(&damage.key) else { continue };
            let is_there = survey.has(&layout::snapshot(writer, sequence));
            if decisions::damaged_request_goes(is_there, forget_damaged)
                && self.is_still_altered(&damage.key).await?
            {
                repairer.remove(&damage.key, "it is damaged").await?;
                removed.push((writer, sequence));
                if !is_there {
                    self.give_up(writer, sequence, None, repairer).await?;
                }
            }
        }
        if !forget_damaged {
            return Ok(());
        }
        for recorded in survey.history.snapshots.iter().filter(|recorded| recorded.is_live()) {
            let is_lost = match &recorded.manifest {
                Err(_) => true,
                Ok(manifest) => {
                    let part = layout::part(manifest.predicate.group, &manifest.part);
                    survey.misnamed.contains_key(&manifest.id) || findings.damage.of(&part).is_some()
                }
            };
            let key = layout::forget(recorded.writer, recorded.sequence);
            let place = (recorded.writer, recorded.sequence);
            let void = survey.history.void.get(&place);
            let request = match void {
                Some(_) => FoundRequest::Void,
                None if survey.has(&key) && !removed.contains(&place) => FoundRequest::Valid,
                None => FoundRequest::Absent,
            };
            let decided = decisions::give_up(is_lost, request);
            if let Some(why) = void.filter(|_| decided.removes_request) {
                repairer.remove(&key, &format!("it has no effect, since {why}")).await?;
            }
            if decided.gives_up {
                // If the manifest can be read, a request applies to the existing snapshot and to no other.
                let snapshot = recorded.manifest.as_ref().ok().map(|manifest| manifest.id);
                self.give_up(recorded.writer, recorded.sequence, snapshot, repairer).await?;
            }
        }
        for problem in &survey.history.problems {
            let Some((writer, missing)) = problem.missing() else { continue };
            for sequence in missing.take(MOST_WITHHELD) {
                if !survey.has(&layout::forget(writer, sequence)) {
                    self.give_up(writer, sequence, None, repairer).await?;
                }
            }
        }
        Ok(())
    }

    async fn give_up(
        &self,
        writer: WriterId,
        sequence: u64,
        snapshot: Option<Sha256Digest>,
        repairer: &mut Repairer<'_>,
    ) -> Result<(), VaultError> {
        let pen = self.session.pruning_pen()?;
        let repository = self.session.repository();
        let request =
            Request::new(&repository.id, writer, sequence, snapshot, repairer.pen.signer, repairer.now);
        let key = layout::forget(writer, sequence);
        let what = format!("gives up snapshot {sequence} of writer {writer}, which cannot be repaired");
        repairer.write(key, request.sign(pen.key), what).await
    }
}
