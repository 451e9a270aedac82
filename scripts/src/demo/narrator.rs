//! Tells the story: a numbered sentence for each step, its commands, their output, and the time they took.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::call::Call;
use super::interrupt::Watcher;
use super::work::Work;
use crate::problem::Problem;
use crate::process::not_started;
use crate::terminal::{Terminal, duration, wrapped};

/// The indent of a command's output.
const OUTPUT: &str = "    ";
/// How many of a quiet command's last lines a failure shows.
const TAIL_LINES: usize = 20;
/// The interval and the time limit for polling something that offers no event to wait for.
const PAUSE: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_mins(1);
/// SIGHUP, sent by a terminal that goes away, and SIGINT, sent by Ctrl-C.
const HANGUP: i32 = 1;
const INTERRUPT: i32 = 2;
/// The exit code of a program that handled SIGINT itself.
pub(super) const INTERRUPTED: i32 = 130;

/// How much of a command's output is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voice {
    /// Every line.
    Full,
    /// The current line on a terminal; only the last line stays.
    Last,
}

pub(super) struct Narrator<'t> {
    terminal: &'t Terminal,
    steps: Cell<u32>,
    watcher: Option<Watcher>,
}

impl<'t> Narrator<'t> {
    pub(super) fn new(terminal: &'t Terminal) -> Self {
        Self { terminal, steps: Cell::new(0), watcher: None }
    }

    /// A narrator that continues after `steps` steps, in a process that ignores Ctrl-C.
    pub(super) fn watching(terminal: &'t Terminal, steps: u32) -> Result<Self, Problem> {
        Ok(Self { terminal, steps: Cell::new(steps), watcher: Some(Watcher::start()?) })
    }

    pub(super) fn steps(&self) -> u32 {
        self.steps.get()
    }

    /// One step: its sentence, then what `body` does, then the time it took. A failure names the step.
    pub(super) fn step<T>(
        &self,
        sentence: &str,
        body: impl FnOnce() -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let number = self.steps.get() + 1;
        self.steps.set(number);
        self.terminal.line("");
        self.terminal.heading(&format!("{number}. {sentence}"));
        let started = Instant::now();
        let result = body();
        let time = duration(started.elapsed());
        match &result {
            Ok(_) => self.terminal.line(&format!("  took {time}")),
            Err(_) => self.terminal.line(&format!("  step {number} failed after {time}")),
        }
        result.map_err(|problem| problem.within(&format!("step {number} ({sentence})")))
    }

    /// A plain line of the story.
    pub(super) fn say(&self, text: &str) {
        self.terminal.line(&wrapped(&format!("  {text}")));
    }

    /// Shows a command that is not run itself, because its work is done in another way.
    pub(super) fn show(&self, call: &Call) {
        self.terminal.line(&call.typed());
    }

    /// Runs a command in the work folder and shows all of its output. Returns the output.
    pub(super) fn run(&self, work: &Work, call: &Call) -> Result<String, Problem> {
        let said = self.execute(work.command(call), call, Voice::Full)?;
        self.go_on().map(|()| said)
    }

    /// Runs a verbose command, and shows its last line.
    pub(super) fn run_quietly(&self, command: Command, call: &Call) -> Result<String, Problem> {
        self.execute(command, call, Voice::Last)
    }

    /// Runs a command that Ctrl-C must not end, and shows its last line.
    pub(super) fn run_to_the_end(&self, call: &Call) -> Result<(), Problem> {
        let words = call.words();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        self.execute(command, call, Voice::Last).map(drop)
    }

    /// Returns the output of a command without showing it.
    pub(super) fn ask(&self, work: &Work, call: &Call) -> Result<String, Problem> {
        let words = call.words();
        let program = words.first().copied().unwrap_or_default();
        let output = work.command(call).stdin(Stdio::null()).stderr(Stdio::null()).output();
        let output = output.map_err(|error| not_started(program, &error))?;
        self.judge(call, program, output.status)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Shows a command once, and repeats it until it prints `wanted`.
    pub(super) fn run_until(&self, work: &Work, call: &Call, wanted: &str) -> Result<(), Problem> {
        self.show(call);
        let started = Instant::now();
        loop {
            let answer = self.ask(work, call)?;
            let answer = answer.trim();
            self.go_on()?;
            if answer == wanted {
                self.terminal.line(&format!("{OUTPUT}{answer}, after {}", duration(started.elapsed())));
                return Ok(());
            }
            if started.elapsed() > DEADLINE {
                let seconds = DEADLINE.as_secs();
                return Err(Problem::new(format!("it says {answer:?} after {seconds} s, not {wanted:?}")));
            }
            sleep(PAUSE);
        }
    }

    fn execute(&self, mut command: Command, call: &Call, voice: Voice) -> Result<String, Problem> {
        self.terminal.line(&call.typed());
        let words = call.words();
        let program = words.first().copied().unwrap_or_default();
        let cannot_start = |error: &std::io::Error| not_started(program, error);
        // One pipe for both, to keep the lines in order.
        let (reader, writer) = std::io::pipe().map_err(|error| cannot_start(&error))?;
        let errors = writer.try_clone().map_err(|error| cannot_start(&error))?;
        command.stdin(Stdio::null()).stdout(writer).stderr(errors);
        let mut child = command.spawn().map_err(|error| cannot_start(&error))?;
        // The command holds the pipe's writing ends: drop it, so that the loop below comes to an end.
        drop(command);

        let mut said = String::new();
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            match voice {
                Voice::Full => self.terminal.line(&wrapped(&format!("{OUTPUT}{line}"))),
                Voice::Last => self.terminal.now(line.trim()),
            }
            said.push_str(&line);
            said.push('\n');
        }
        self.terminal.now("");
        let status = child.wait().map_err(|error| cannot_start(&error))?;
        if voice == Voice::Last {
            let shown = if status.success() { 1 } else { TAIL_LINES };
            let lines: Vec<&str> = said.lines().collect();
            for line in &lines[lines.len().saturating_sub(shown)..] {
                self.terminal.line(&format!("{OUTPUT}{}", line.trim_end()));
            }
        }
        self.judge(call, program, status)?;
        Ok(said)
    }

    /// Ctrl-C may also have been meant for a command that ended well.
    fn go_on(&self) -> Result<(), Problem> {
        let is_over = self.watcher.as_ref().is_some_and(Watcher::saw_interruption);
        if is_over { Err(Problem::interrupted()) } else { Ok(()) }
    }

    fn judge(&self, call: &Call, program: &str, status: ExitStatus) -> Result<(), Problem> {
        let expected = call.expected();
        match status.code() {
            Some(code) if code == expected.code => {
                if code != 0 {
                    self.say(&format!("exit code {code}, as expected: {}", expected.because));
                }
                Ok(())
            }
            Some(INTERRUPTED) => Err(Problem::interrupted()),
            None if matches!(status.signal(), Some(HANGUP | INTERRUPT)) => Err(Problem::interrupted()),
            Some(code) => Err(Problem::new(format!(
                "{program} ended with exit code {code}, and {} was expected",
                expected.code
            ))),
            None => Err(Problem::new(format!("{program} failed ({status})"))),
        }
    }
}
