//! One command of the story: what is run, how it is shown, and how it should end.

/// The widest line that a shown command fills.
const WIDTH: usize = 79;
/// Where a command starts, and where its continued lines start.
const PROMPT: &str = "  $ ";
const CONTINUED: &str = "      ";

#[derive(Debug, Clone)]
pub(super) struct Call {
    words: Vec<String>,
    /// Shown as it is, and run by a shell.
    is_script: bool,
    expected: Expected,
}

/// How a command should end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) code: i32,
    /// Why that is not a failure; shown when the code is not 0.
    pub(super) because: &'static str,
}

impl Call {
    /// A program with its arguments, none of which holds a space.
    pub(super) fn new(line: &str) -> Self {
        let words = line.split_whitespace().map(str::to_owned).collect();
        Self { words, is_script: false, expected: Expected { code: 0, because: "" } }
    }

    /// A line for the shell.
    pub(super) fn script(line: &str) -> Self {
        Self { words: vec![line.to_owned()], is_script: true, ..Self::new("") }
    }

    /// One more argument, with or without spaces.
    pub(super) fn arg(mut self, word: &str) -> Self {
        self.words.push(word.to_owned());
        self
    }

    pub(super) fn expecting(self, code: i32, because: &'static str) -> Self {
        Self { expected: Expected { code, because }, ..self }
    }

    pub(super) fn expected(&self) -> &Expected {
        &self.expected
    }

    /// What is executed: a program and its arguments.
    pub(super) fn words(&self) -> Vec<&str> {
        let script: &[&str] = if self.is_script { &["sh", "-c"] } else { &[] };
        script.iter().copied().chain(self.words.iter().map(String::as_str)).collect()
    }

    /// The command as a person types it, on lines that fit a narrow terminal.
    pub(super) fn typed(&self) -> String {
        if self.is_script {
            return format!("{PROMPT}{}", self.words.join(" ").replace('\n', &format!("\n{CONTINUED}")));
        }
        let mut text = PROMPT.to_owned();
        let mut column = PROMPT.len();
        for (place, piece) in pieces(&self.words).iter().enumerate() {
            // Only the first line of a quoted text of several lines counts for the width.
            let width = piece.lines().next().map_or(0, |line| line.chars().count());
            if place > 0 && column + 1 + width + " \\".len() > WIDTH {
                text.push_str(" \\\n");
                text.push_str(CONTINUED);
                column = CONTINUED.len();
            } else if place > 0 {
                text.push(' ');
                column += 1;
            }
            text.push_str(piece);
            column = if piece.contains('\n') { WIDTH } else { column + width };
        }
        text
    }
}

/// The words as a shell needs them, an option together with its value.
fn pieces(words: &[String]) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut wants_value = false;
    for word in words {
        let is_option = word.len() > 1 && word.starts_with('-');
        match pieces.last_mut() {
            Some(last) if wants_value && !is_option => {
                last.push(' ');
                last.push_str(&quoted(word));
            }
            _ => pieces.push(quoted(word)),
        }
        wants_value = is_option;
    }
    pieces
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_continued_between_options() {
        let call = Call::new(
            "docker run --detach --name lifeboat-demo-6f2a90-db --network lifeboat-demo-6f2a90 postgres:15",
        );
        assert_eq!(
            call.typed(),
            "  $ docker run --detach --name lifeboat-demo-6f2a90-db \\\n      --network lifeboat-demo-6f2a90 postgres:15"
        );
        assert!(call.typed().lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        let call = Call::new("psql --command").arg("select 'a'").arg("");
        assert_eq!(call.typed(), r"  $ psql --command 'select '\''a'\''' ''");
        assert_eq!(call.words(), ["psql", "--command", "select 'a'", ""]);
    }

    #[test]
    fn a_script_is_shown_as_it_is() {
        let call = Call::script("tar c . | docker import - x:1");
        assert_eq!(call.typed(), "  $ tar c . | docker import - x:1");
        assert_eq!(call.words(), ["sh", "-c", "tar c . | docker import - x:1"]);
    }
}
