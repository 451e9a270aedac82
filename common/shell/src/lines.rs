//! Progress as JSON lines on standard error, for programs, and log events in the same form.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lifeboat_core::progress::{Progress, Unit};
use lifeboat_report::lines::{Level, MessageLine, ProgressLine};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::terminal::{Warnings, on_stderr, tell};

/// The minimum time between two lines of a phase.
const PAUSE: Duration = Duration::from_secs(1);

/// Reports the start, the progress and the end of each phase.
pub(crate) struct Lines {
    warnings: Warnings,
    phase: Mutex<Option<Phase>>,
}

struct Phase {
    name: String,
    unit: &'static str,
    total: Option<u64>,
    done: u64,
    began: Instant,
    told: Instant,
}

impl Phase {
    fn line(&self) -> ProgressLine {
        ProgressLine::new(&self.name, self.unit, self.done, self.total, self.began.elapsed().as_secs_f64())
    }
}

impl Lines {
    pub(crate) fn new(warnings: Warnings) -> Self {
        Self { warnings, phase: Mutex::default() }
    }

    /// Ends the current phase.
    pub(crate) fn end(&self) {
        if let Some(phase) = self.lock().take() {
            tell(&ProgressLine { ended: true, ..phase.line() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Phase>> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Lines {
    fn phase(&self, name: &str, unit: Unit, total: Option<u64>) {
        self.end();
        let unit = match unit {
            Unit::Bytes => "bytes",
            Unit::Items => "items",
        };
        let now = Instant::now();
        let phase = Phase { name: name.to_owned(), unit, total, done: 0, began: now, told: now };
        tell(&phase.line());
        *self.lock() = Some(phase);
    }

    fn advance(&self, amount: u64) {
        if let Some(phase) = self.lock().as_mut() {
            phase.done += amount;
            if phase.told.elapsed() >= PAUSE {
                phase.told = Instant::now();
                tell(&phase.line());
            }
        }
    }

    fn warn(&self, message: &str) {
        self.warnings.warn(message);
    }
}

/// Log events, in the same form as messages. Warnings go where all warnings go.
pub(crate) struct Events {
    pub(crate) warnings: Warnings,
}

impl<S, N> FormatEvent<S, N> for Events
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut message = String::new();
        context.field_format().format_fields(Writer::new(&mut message), event)?;
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => {
                self.warnings.warn(&message);
                return Ok(());
            }
            tracing::Level::INFO => Level::Note,
            tracing::Level::DEBUG | tracing::Level::TRACE => {
                message.insert_str(0, &format!("{}: ", event.metadata().target()));
                Level::Debug
            }
        };
        writer.write_str(&on_stderr(&MessageLine { level, message }))
    }
}
