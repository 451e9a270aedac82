//! Which checks say something about the restored data, and not only that something answers.
//!
//! Nobody can tell from a command what it reads. These rules take away what surely reads nothing, or what an application without
//! any data would answer as well; `proves_data` in the plan stands above them.

use super::plan::{Action, Check};

impl Check {
    /// Whether it says something about the data, not only that something answers.
    pub fn proves_data(&self) -> bool {
        match &self.action {
            Action::Sql { query, rows, .. } => reads_a_table(query) && !is_nothing(rows),
            Action::Exec { command, stdout, proves_data, .. } => {
                *proves_data
                    || stdout.as_ref().is_some_and(|expected| !expected.is_met("") && !says_itself(command))
            }
            Action::Tcp { .. } => false,
        }
    }
}

/// Whether a query asks about something that is stored: `select 1` is answered by any database.
fn reads_a_table(query: &str) -> bool {
    let mut words = query.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| ["from", "table", "call"].iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// Whether an empty table gives these rows as well: none, or counts and sums of nothing.
fn is_nothing(rows: &str) -> bool {
    rows.split_whitespace().all(|value| ["0", "f", "false", "null", "NULL"].contains(&value))
}

/// Whether a command prints what its own words say, whatever is stored: `echo`, `printf`, alone or as a shell's script.
fn says_itself(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let is = |word: &str, names: &[&str]| names.contains(&word.rsplit('/').next().unwrap_or_default());
    match words[..] {
        [shell, options, script] if is(shell, &["sh", "bash", "ash", "dash"]) && options.ends_with('c') => {
            let first = script.split_whitespace().next().unwrap_or_default();
            is(first, &["echo", "printf"]) && !script.contains(['$', '`', '<', '|', ';', '&', '\n'])
        }
        [program, ..] => is(program, &["echo", "printf"]),
        [] => true,
    }
}

#[cfg(test)]
mod tests {
    use crate::rehearsal::Plan;

    #[test]
    fn only_what_asks_about_what_is_stored_is_a_proof() {
        let sql = |query: &str, rows: &str| {
            format!("kind = \"sql\"\nengine = \"postgres\"\nquery = \"{query}\"\nexpect = \"{rows}\"\n")
        };
        let exec =
            |command: &str, expected: &str| format!("kind = \"exec\"\ncommand = {command}\n{expected}\n");
        for (check, proves) in [
            (sql("select count(*) from orders", "100"), true),
            (sql("TABLE orders", "1\\t2"), true),
            (sql("select count(*) from orders", "0"), false),
            (sql("select * from orders where false", ""), false),
            (sql("select sum(x), count(*) from orders where false", "NULL\\t0"), false),
            (sql("select 1", "1"), false),
            (sql("select 1+0 as orders", "1"), false),
            (sql("select 'transfrom'", "transfrom"), false),
            (sql("select version()", "16"), false),
            (exec(r#"["cat", "/data/said"]"#, r#"equals = "here""#), true),
            (exec(r#"["sh", "-c", "wc -l < /data/said"]"#, r#"matches = "^[0-9]+$""#), true),
            (exec(r#"["sh", "-c", "echo $(cat /data/said)"]"#, r#"equals = "here""#), true),
            (exec(r#"["cat", "/data/said"]"#, ""), false),
            (exec(r#"["cat", "/data/said"]"#, r#"contains = """#), false),
            (exec(r#"["cat", "/data/said"]"#, r#"matches = ".*""#), false),
            (exec(r#"["echo", "hello"]"#, r#"equals = "hello""#), false),
            (exec(r#"["/bin/echo", "hello"]"#, r#"contains = "ell""#), false),
            (exec(r#"["sh", "-c", "printf hello"]"#, r#"equals = "hello""#), false),
            (exec(r#"["bash", "-ec", "echo hello"]"#, r#"equals = "hello""#), false),
            (exec(r#"["true"]"#, "proves_data = true"), true),
            (exec(r#"["echo", "x"]"#, "proves_data = true"), true),
            ("kind = \"tcp\"\nport = 80\n".to_owned(), false),
        ] {
            let plan = Plan::parse(&format!("version = 1\n[[check]]\nservice = \"a\"\n{check}")).unwrap();
            assert_eq!(plan.checks[0].proves_data(), proves, "{check}");
        }
    }
}
