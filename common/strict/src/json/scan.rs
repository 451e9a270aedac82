//! One pass over a document, which copies only names that are written with escapes.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::IgnoredAny;

use super::{Limits, Shape, Structure, fold};
use crate::{Refusal, printable};

pub(super) fn scan(document: &[u8], shape: &Shape, limits: Limits) -> Result<(), Refusal> {
    let text = std::str::from_utf8(document).map_err(|error| {
        Refusal::malformed(format!("it is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    let mut scanner = Scanner { text, at: 0, values: 0, limits };
    let done = scanner.value(shape, 0).and_then(|()| {
        scanner.skip_space();
        if scanner.at < document.len() { Err(Stop::Syntax) } else { Ok(()) }
    });
    match done {
        Ok(()) => Ok(()),
        Err(Stop::Refused(refusal)) => Err(refusal),
        // The parser's message is better.
        Err(Stop::Syntax) => Err(Refusal::malformed(match serde_json::from_slice::<IgnoredAny>(document) {
            Err(error) => error.to_string(),
            Ok(IgnoredAny) => format!("it is not JSON{}", scanner.place()),
        })),
    }
}

enum Stop {
    Syntax,
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

struct Scanner<'d> {
    text: &'d str,
    at: usize,
    values: usize,
    limits: Limits,
}

impl<'d> Scanner<'d> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips white space and consumes this byte, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.take(byte) { Ok(()) } else { Err(Stop::Syntax) }
    }

    /// The scanner's position, for messages.
    fn place(&self) -> String {
        let before = &self.text.as_bytes()[..self.at];
        let mut lines = before.split(|byte| *byte == b'\n');
        let column = lines.next_back().map_or(0, <[u8]>::len);
        format!(" at line {} column {column}", lines.count() + 1)
    }

    fn refuse<T>(&self, make: fn(String) -> Refusal, reason: &str) -> Result<T, Stop> {
        Err(make(format!("{reason}{}", self.place())).into())
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.values += 1;
        if self.values > self.limits.values {
            let reason = format!("it holds more than {} values", self.limits.values);
            return self.refuse(Refusal::too_large, &reason);
        }
        Ok(())
    }

    fn value(&mut self, shape: &Shape, depth: usize) -> Result<(), Stop> {
        self.skip_space();
        let first = self.peek().ok_or(Stop::Syntax)?;
        let expected = match shape {
            Shape::ListsAt(_) if first == b'[' => {
                return self.refuse(Refusal::malformed, "no list belongs here");
            }
            Shape::Any | Shape::ListsAt(_) => None,
            Shape::List(..) => Some((b'[', "a list")),
            Shape::Map(_) | Shape::Structure(_) => Some((b'{', "an object")),
        };
        // Readers handle a list in place of an object differently.
        if let Some((byte, kind)) = expected
            && first != byte
            && first != b'n'
        {
            return self.refuse(Refusal::malformed, &format!("{kind} belongs here"));
        }
        if matches!(first, b'{' | b'[') {
            self.at += 1;
            if depth >= self.limits.depth {
                let reason = format!("nested more than {} deep", self.limits.depth);
                return self.refuse(Refusal::too_large, &reason);
            }
        }
        match (first, shape) {
            (b'{', Shape::Structure(structure)) => self.structure(structure, depth + 1),
            (b'{', Shape::Map(of)) => self.map(of, &[], depth + 1),
            (b'{', Shape::ListsAt(names)) => self.map(shape, names, depth + 1),
            (b'{', _) => self.map(&Shape::Any, &[], depth + 1),
            (b'[', Shape::List(of, at_most)) => self.list(of, *at_most, depth + 1),
            (b'[', _) => self.list(&Shape::Any, usize::MAX, depth + 1),
            (b'"', _) => self.string().map(drop),
            (b'-' | b'0'..=b'9', _) => self.number(),
            (b't', _) => self.word("true"),
            (b'f', _) => self.word("false"),
            (b'n', _) => self.word("null"),
            _ => Err(Stop::Syntax),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Stop> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Stop::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    /// RFC 8259, section 6.
    fn number(&mut self) -> Result<(), Stop> {
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Stop> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Stop::Syntax) } else { Ok(()) }
    }

    /// Skips the string that starts here, and returns it with its quotation marks, and whether it has escapes (RFC
    /// 8259, section 7).
    fn string(&mut self) -> Result<(&'d str, bool), Stop> {
        let start = self.at;
        self.at += 1;
        let mut has_escapes = false;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let special =
                rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).ok_or(Stop::Syntax)?;
            self.at += special + 1;
            match rest[special] {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    self.escape()?;
                    self.check_length(start)?;
                }
                _ => return Err(Stop::Syntax),
            }
        }
        if has_escapes {
            self.check_length(start)?;
        }
        let text = &self.text[start..self.at];
        Ok((text, has_escapes))
    }

    /// Refuses a string with escapes, starting at `start`, that is too long to copy.
    fn check_length(&self, start: usize) -> Result<(), Stop> {
        if self.at - start > self.limits.escaped {
            let reason =
                format!("a string of more than {} bytes is written with escapes", self.limits.escaped);
            return self.refuse(Refusal::too_large, &reason);
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Stop> {
        match self.peek().ok_or(Stop::Syntax)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                let unit = self.unit()?;
                // Half of a surrogate pair means nothing, and programs replace it by different characters.
                if (0xdc00..0xe000).contains(&unit) {
                    return Err(Stop::Syntax);
                }
                if (0xd800..0xdc00).contains(&unit) {
                    self.word("\\")?;
                    if self.peek() != Some(b'u') || !(0xdc00..0xe000).contains(&self.unit()?) {
                        return Err(Stop::Syntax);
                    }
                }
            }
            _ => return Err(Stop::Syntax),
        }
        Ok(())
    }

    /// The four digits after a `u`.
    fn unit(&mut self) -> Result<u32, Stop> {
        let digits = self.text.get(self.at + 1..self.at + 5).ok_or(Stop::Syntax)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Stop::Syntax);
        }
        self.at += 5;
        u32::from_str_radix(digits, 16).map_err(|_| Stop::Syntax)
    }

    /// A name, and the colon after it.
    fn name(&mut self) -> Result<Cow<'d, str>, Stop> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return Err(Stop::Syntax);
        }
        let (text, has_escapes) = self.string()?;
        let name = if has_escapes {
            Cow::Owned(serde_json::from_str::<String>(text).map_err(|_| Stop::Syntax)?)
        } else {
            Cow::Borrowed(&text[1..text.len() - 1])
        };
        self.expect(b':')?;
        self.count()?;
        Ok(name)
    }

    fn list(&mut self, of: &Shape, at_most: usize, depth: usize) -> Result<(), Stop> {
        if self.take(b']') {
            return Ok(());
        }
        for number in 0.. {
            self.count()?;
            if number >= at_most {
                let reason = format!("a list holds more than {at_most} entries");
                return self.refuse(Refusal::too_large, &reason);
            }
            self.value(of, depth)?;
            if !self.take(b',') {
                break;
            }
        }
        self.expect(b']')
    }

    /// An object with arbitrary names. Members named in `lists` may be lists, whatever shape other values have.
    fn map(&mut self, of: &Shape, lists: &[&str], depth: usize) -> Result<(), Stop> {
        let mut names = Names::default();
        self.members(|scanner| {
            let name = scanner.name()?;
            if lists.contains(&&*name) && scanner.take(b'[') {
                scanner.list(of, usize::MAX, depth + 1)?;
            } else {
                scanner.value(of, depth)?;
            }
            match names.add(name) {
                Some(twice) => scanner.twice(&twice),
                None => Ok(()),
            }
        })
    }

    fn twice(&mut self, name: &str) -> Result<(), Stop> {
        self.skip_space();
        self.at = self.text.len().min(self.at + 1);
        self.refuse(Refusal::ambiguous, &format!("the member `{}` stands twice", printable(name)))
    }

    fn structure(&mut self, structure: &Structure, depth: usize) -> Result<(), Stop> {
        let mut names = Names::default();
        self.members(|scanner| {
            let name = scanner.name()?;
            let known = structure.members.iter().find(|(known, _)| *known == name);
            let folded = match fold(&name) {
                Cow::Owned(folded) => Cow::Owned(folded),
                Cow::Borrowed(_) => name.clone(),
            };
            if known.is_none() {
                if let Some((meant, _)) = structure.members.iter().find(|(known, _)| fold(known) == folded) {
                    let (name, meant) = (printable(&name), printable(meant));
                    let reason =
                        format!("the member `{name}` is `{meant}` to programs that do not heed case");
                    return scanner.refuse(Refusal::ambiguous, &reason);
                }
                if structure.closed {
                    let reason = format!("the member `{}` is not known", printable(&name));
                    return scanner.refuse(Refusal::malformed, &reason);
                }
            }
            scanner.value(known.map_or(&Shape::Any, |(_, shape)| shape), depth)?;
            match names.add(folded) {
                Some(_) => scanner.twice(&name),
                None => Ok(()),
            }
        })
    }

    /// The members of an object whose opening brace was consumed.
    fn members(&mut self, mut member: impl FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            member(self)?;
            if !self.take(b',') {
                return self.expect(b'}');
            }
        }
    }
}

/// The names of an object. Most objects have few, for which a linear search is fastest.
#[derive(Default)]
struct Names<'d> {
    few: Vec<Cow<'d, str>>,
    many: HashSet<Cow<'d, str>>,
}

/// Up to how many names are searched linearly.
const FEW: usize = 12;

impl<'d> Names<'d> {
    /// Adds a name, or returns it if it is there already.
    fn add(&mut self, name: Cow<'d, str>) -> Option<Cow<'d, str>> {
        if self.few.contains(&name) {
            return Some(name);
        }
        if self.few.len() < FEW {
            self.few.push(name);
            return None;
        }
        self.many.replace(name)
    }
}
