//! Who was at rest while volumes were read, and what became of them.

use lifeboat_docker::Engine;
use lifeboat_docker::quiesce::{LeftRunning, Released};
use lifeboat_shell::{Failure, Ui};

/// Who was at rest, how long, and what became of them.
#[derive(Default)]
pub(super) struct AtRest {
    /// The containers that were brought to rest, by name; in a dry run, those that would be.
    pub(super) containers: Vec<String>,
    /// How long they were, in seconds; none if nobody was.
    pub(super) seconds: Option<f64>,
    /// The containers that kept writing although they were to be at rest.
    pub(super) left_running: Vec<String>,
    /// What is wrong with containers that were brought back, and with volumes.
    pub(super) troubles: Vec<String>,
    /// Why some of them are not back.
    pub(super) unreleased: Option<Failure>,
    released: Option<(Engine, Released)>,
}

impl AtRest {
    /// Says who keeps running, and what follows from it.
    pub(super) fn tell_left_running(&mut self, left_running: &[LeftRunning], ui: &Ui) {
        for LeftRunning { container, reason, advice, volumes } in left_running {
            let volumes = volumes.iter().map(|volume| format!("`{volume}`")).collect::<Vec<_>>().join(", ");
            ui.warn(&format!(
                "`{container}` keeps running while {volumes} is read, whose files may not fit together: {reason}; {advice}"
            ));
            self.left_running.push(container.clone());
        }
    }

    /// Notes who is back, and says what was started too early.
    pub(super) fn note_released(&mut self, engine: Engine, released: Released, ui: &Ui) {
        self.trouble(released.unmet.iter().chain(&released.lost).cloned(), ui);
        self.released = Some((engine, released));
    }

    /// Says who of those that are back does not stay up.
    pub(super) async fn look_after(&mut self, ui: &Ui) {
        let Some((engine, released)) = self.released.take() else { return };
        let fallen = engine.fallen(&released.back, ui.cancellation()).await;
        self.trouble(fallen, ui);
    }

    /// Says what is wrong with containers or volumes, and remembers it.
    pub(super) fn trouble(&mut self, said: impl IntoIterator<Item = String>, ui: &Ui) {
        for trouble in said {
            ui.warn(&trouble);
            self.troubles.push(trouble);
        }
    }

    /// For a run that failed for another reason: says who is not back.
    pub(super) async fn tell_of_failure(&mut self, ui: &Ui) {
        if let Some(failure) = self.unreleased.take() {
            ui.warn(&failure.message());
            ui.warn("they are started by the next run, or by `lifeboat-backup doctor`");
        }
        self.look_after(ui).await;
    }

    /// Whether something is not as the run was asked to have it.
    pub(super) fn is_troubled(&self) -> bool {
        !(self.left_running.is_empty() && self.troubles.is_empty())
    }
}
