//! Standard error: messages, and progress bars, which are drawn only on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lifeboat_core::progress::{Progress, Unit};
use lifeboat_core::text::printable_lines;
use lifeboat_report::Report;
use lifeboat_report::lines::{Level, MessageLine};

/// Whether everything on standard error is a JSON document on a line of its own.
static JSON_LINES: AtomicBool = AtomicBool::new(false);

/// From now on everything on standard error is a JSON document on a line of its own.
pub(crate) fn speak_json() {
    JSON_LINES.store(true, Ordering::Relaxed);
}

/// Prints `report` on standard error, as text or as a line of JSON.
pub(crate) fn tell<R: Report>(report: &R) {
    complain(&on_stderr(report));
}

/// The text of `report` on standard error.
///
/// # Panics
/// Never: report types are strings, numbers and lists of them.
pub(crate) fn on_stderr<R: Report>(report: &R) -> String {
    if JSON_LINES.load(Ordering::Relaxed) {
        report.json_line().expect("report types always serialise") + "\n"
    } else {
        printable_lines(&report.text())
    }
}

/// Prints on standard error. If that fails, as on a full disk, there is nowhere to report it.
pub(crate) fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// How many warnings are withheld at most.
const MOST_WITHHELD: usize = 1000;

/// Decides when warnings are printed: at once or, with `--quiet`, when the command turns out not to end well.
#[derive(Clone)]
pub(crate) struct Warnings {
    withheld: Option<Arc<Mutex<Vec<MessageLine>>>>,
}

impl Warnings {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { withheld: quiet.then(Arc::default) }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.withheld.is_some()
    }

    pub(crate) fn warn(&self, message: &str) {
        let line = MessageLine { level: Level::Warning, message: message.to_owned() };
        match &self.withheld {
            None => tell(&line),
            Some(withheld) => {
                let mut withheld = withheld.lock().unwrap_or_else(PoisonError::into_inner);
                if withheld.len() < MOST_WITHHELD {
                    withheld.push(line);
                }
            }
        }
    }

    /// Prints what was withheld.
    pub(crate) fn tell_withheld(&self) {
        let withheld = self.withheld.iter().flat_map(|withheld| {
            std::mem::take(&mut *withheld.lock().unwrap_or_else(PoisonError::into_inner))
        });
        withheld.for_each(|line| tell(&line));
    }
}

/// One bar, reused by each phase.
pub(crate) struct Bar {
    visible: bool,
    warnings: Warnings,
    drawn: Mutex<Option<ProgressBar>>,
}

impl Bar {
    pub(crate) fn new(wanted: bool, warnings: Warnings) -> Self {
        let visible = wanted && !warnings.is_quiet() && std::io::stderr().is_terminal();
        Self { visible, warnings, drawn: Mutex::new(None) }
    }

    pub(crate) fn clear(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }

    /// Runs `print` without the bar in its way.
    pub(crate) fn suspended(&self, print: impl FnOnce()) {
        match self.lock().as_ref() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.drawn.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn style(unit: Unit, known: bool) -> ProgressStyle {
    let template = match (unit, known) {
        (Unit::Bytes, true) => {
            "{msg:18} {wide_bar} {bytes:>10}/{total_bytes:10} {binary_bytes_per_sec:>12} {eta:>5}"
        }
        (Unit::Bytes, false) => "{msg:18} {spinner} {bytes:>10} {binary_bytes_per_sec:>12} {elapsed:>5}",
        (Unit::Items, true) => "{msg:18} {wide_bar} {human_pos:>8}/{human_len:8} {per_sec:>12} {eta:>5}",
        (Unit::Items, false) => "{msg:18} {spinner} {human_pos:>8} {per_sec:>12} {elapsed:>5}",
    };
    ProgressStyle::with_template(template).expect("the templates above are well formed")
}

impl Progress for Bar {
    fn phase(&self, name: &str, unit: Unit, total: Option<u64>) {
        if !self.visible {
            return;
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        bar.set_style(style(unit, total.is_some()));
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        if let Some(before) = self.lock().replace(bar) {
            before.finish_and_clear();
        }
    }

    fn advance(&self, amount: u64) {
        if let Some(bar) = self.lock().as_ref() {
            bar.inc(amount);
        }
    }

    fn warn(&self, message: &str) {
        self.suspended(|| self.warnings.warn(message));
    }
}
