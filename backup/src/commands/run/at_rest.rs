//! Which containers were stopped while volumes were read, and whether they came back.

use lifeboat_docker::Engine;
use lifeboat_docker::quiesce::{LeftRunning, Released};
use lifeboat_shell::{Failure, Ui};

/// The containers that were stopped, for how long, and whether they came back.
#[derive(Default)]
pub(super) struct AtRest {
    /// The names of the containers that were stopped or paused; in a dry run, of those that would be.
    pub(super) containers: Vec<String>,
    /// For how long, in seconds; `None` if none was.
    pub(super) seconds: Option<f64>,
    /// The containers that kept running although they should have been stopped.
    pub(super) left_running: Vec<String>,
    /// Problems with containers that were started again, and with volumes.
    pub(super) troubles: Vec<String>,
    /// Why some containers are not running again.
    pub(super) unreleased: Option<Failure>,
    released: Option<(Engine, Released)>,
}

impl AtRest {
    /// Reports which containers keep running, and the consequences.
    pub(super) fn tell_left_running(&mut self, left_running: &[LeftRunning], ui: &Ui) {
        for LeftRunning { container, reason, advice, volumes } in left_running {
            let volumes = volumes.iter().map(|volume| format!("`{volume}`")).collect::<Vec<_>>().join(", ");
            ui.warn(&format!(
                "`{container}` keeps running while {volumes} is read, whose files may not fit together: {reason}; {advice}"
            ));
            self.left_running.push(container.clone());
        }
    }

    /// Records which containers are running again, and reports those that somebody started too early.
    pub(super) fn note_released(&mut self, engine: Engine, released: Released, ui: &Ui) {
        self.trouble(released.unmet.iter().chain(&released.lost).cloned(), ui);
        self.released = Some((engine, released));
    }

    /// Reports which of the restarted containers do not stay up.
    pub(super) async fn look_after(&mut self, ui: &Ui) {
        let Some((engine, released)) = self.released.take() else { return };
        let fallen = engine.fallen(&released.back, ui.cancellation()).await;
        self.trouble(fallen, ui);
    }

    /// Reports problems with containers or volumes, and records them.
    pub(super) fn trouble(&mut self, said: impl IntoIterator<Item = String>, ui: &Ui) {
        for trouble in said {
            ui.warn(&trouble);
            self.troubles.push(trouble);
        }
    }

    /// For a run that failed for another reason: reports which containers are not running again.
    pub(super) async fn tell_of_failure(&mut self, ui: &Ui) {
        if let Some(failure) = self.unreleased.take() {
            ui.warn(&failure.message());
            ui.warn("they are started by the next run, or by `lifeboat-backup doctor`");
        }
        self.look_after(ui).await;
    }

    /// Whether something is not as the run was asked to leave it.
    pub(super) fn is_troubled(&self) -> bool {
        !(self.left_running.is_empty() && self.troubles.is_empty())
    }
}
