//! Decides which checks prove something about the restored data, and not only that something answers.
//!
//! A command does not reveal what it reads. These rules exclude what certainly reads nothing, or what an application
//! without any data would answer as well; `proves_data` in the plan overrides them.

use std::sync::LazyLock;

use regex::Regex;

use super::plan::{Action, Check, Expectation};

impl Check {
    /// Whether it proves something about the data, and not only that something answers.
    pub fn proves_data(&self) -> bool {
        match &self.action {
            Action::Sql { query, rows, proves_data, .. } => {
                *proves_data || reads_a_table(query) && !is_nothing(rows)
            }
            Action::Exec { command, stdout, proves_data, .. } => {
                *proves_data || stdout.as_ref().is_some_and(|expected| may_read(command, expected))
            }
            Action::Tcp { .. } => false,
        }
    }
}

/// SQL strings and comments, in which no table is named.
static NO_SQL: LazyLock<Regex> = LazyLock::new(|| {
    let quoted = r"(?s)'(?:[^']|'')*'|\$\$.*?\$\$|--[^\n]*|/\*.*?\*/";
    Regex::new(quoted).expect("a fixed expression is one")
});

/// The word after `from`, `join`, `table` or `call`, with the bracket that would make it a function.
static SOURCE: LazyLock<Regex> = LazyLock::new(|| {
    let source = r#"(?i)\b(from|join|table|call)\s+(?:only\s+)?([\w.$"`\[\]]+)\s*(\()?"#;
    Regex::new(source).expect("a fixed expression is one")
});

/// Whether a query reads something that is stored. Any database answers `select 1`, and queries about the database
/// itself.
fn reads_a_table(query: &str) -> bool {
    let query = NO_SQL.replace_all(query, " ");
    SOURCE.captures_iter(&query).any(|found| {
        let name = found[2].trim_matches(['"', '`', '[']).to_ascii_lowercase();
        let is_catalog = name.starts_with("pg_") || name.starts_with("information_schema");
        let is_function = found.get(3).is_some() && !found[1].eq_ignore_ascii_case("call");
        !is_catalog && !is_function
    })
}

/// Whether an empty table would give these rows as well: none, or counts and sums of nothing.
fn is_nothing(rows: &str) -> bool {
    let is_zero = |value: &str| value.parse::<f64>().is_ok_and(|number| number == 0.0);
    rows.split_whitespace().all(|value| is_zero(value) || ["f", "false", "null", "NULL"].contains(&value))
}

/// Programs that only show what is running, not what it holds.
const TELL_NO_DATA: [&str; 10] =
    ["pg_isready", "mysqladmin", "mariadb-admin", "hostname", "date", "uname", "whoami", "id", "pwd", "env"];

/// Database clients that take a query as an argument.
const SQL_CLIENTS: [&str; 4] = ["psql", "mysql", "mariadb", "sqlite3"];

/// Whether the expected output of a command may come from the data.
fn may_read(command: &[String], expected: &Expectation) -> bool {
    let says_nothing = match expected {
        Expectation::Equals(text) => is_nothing(text),
        other => other.is_met(""),
    };
    !says_nothing && !says_itself(command)
}

/// Whether a command prints the same whatever is stored: its own arguments, or what the system is.
fn says_itself(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let words = match words[..] {
        // `env NAME=value … PROGRAM`
        ["env" | "/usr/bin/env", ref rest @ ..] if rest.iter().any(|word| !word.contains('=')) => {
            let program = rest.iter().position(|word| !word.contains('=')).unwrap_or(0);
            rest[program..].to_vec()
        }
        _ => words,
    };
    let Some((program, arguments)) = words.split_first() else { return true };
    let name = program.rsplit('/').next().unwrap_or_default();
    if ["sh", "bash", "ash", "dash"].contains(&name) {
        let script = arguments.iter().position(|word| word.starts_with('-') && word.ends_with('c'));
        let script = script.and_then(|place| arguments.get(place + 1));
        return script.is_some_and(|script| script_says_itself(script));
    }
    if SQL_CLIENTS.contains(&name) {
        // A query cannot be told reliably from other arguments: one that reads a table is enough.
        let reads = |word: &&str| reads_a_table(word) || word.starts_with('.');
        let asks = arguments.iter().any(|word| word.to_ascii_lowercase().contains("select"));
        return asks && !arguments.iter().any(reads);
    }
    is_itself(name)
}

fn is_itself(name: &str) -> bool {
    ["echo", "printf", "true", ":"].contains(&name) || TELL_NO_DATA.contains(&name)
}

/// Whether every command of a shell script only repeats itself, and nothing is piped in from elsewhere.
fn script_says_itself(script: &str) -> bool {
    let is_plain = !script.contains(['$', '`', '<', '*', '?', '[']);
    let mut commands =
        script.split([';', '&', '|', '\n']).map(str::trim).filter(|command| !command.is_empty());
    is_plain && commands.all(|command| command.split_whitespace().next().is_some_and(is_itself))
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
            (sql("select 1 -- from orders", "1"), false),
            (sql("select ' from orders'", " from orders"), false),
            (sql("select /* from orders */ 1", "1"), false),
            (sql("select extract(year from now())", "2026"), false),
            (sql("select count(*) from generate_series(1,100)", "100"), false),
            (sql("select count(*) from pg_database", "3"), false),
            (sql("select sum(total) from orders", "0.00"), false),
            (sql("select count(*) from shop.orders o join lines l using (id)", "7"), true),
            (format!("{}proves_data = true\n", sql("select count(*) from orders where broken", "0")), true),
            (exec(r#"["pg_isready"]"#, r#"contains = "accepting""#), false),
            (exec(r#"["psql", "-tAc", "select 1"]"#, r#"equals = "1""#), false),
            (exec(r#"["psql", "-tAc", "select count(*) from orders"]"#, r#"equals = "0""#), false),
            (exec(r#"["psql", "-tAc", "select count(*) from orders"]"#, r#"equals = "7""#), true),
            (exec(r#"["psql", "-f", "/checks/count.sql"]"#, r#"equals = "7""#), true),
            (exec(r#"["hostname"]"#, r#"matches = ".""#), false),
            (exec(r#"["sh", "-e", "-c", "true; echo ok"]"#, r#"equals = "ok""#), false),
            (exec(r#"["env", "A=1", "echo", "ok"]"#, r#"equals = "ok""#), false),
            (exec(r#"["sh", "-c", "echo /data/PG_*"]"#, r#"contains = "PG_VERSION""#), true),
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
