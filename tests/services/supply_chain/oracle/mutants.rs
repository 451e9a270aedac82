//! Mutants of documents: evidence, trusted roots and policies with one or a few changes, of the kinds in which parsers
//! and rules have been seen to differ.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use lifeboat_core::Sha256Digest;
use lifeboat_tests::course::Course;
use serde_json::{Map, Value, json};

/// Marks what JSON values cannot represent until the text is written: duplicate names, and numbers as written.
const MARK: &str = "\u{1}raw\u{1}";

/// A source of mutants.
pub(super) struct Mutator {
    course: Course,
    documents: Vec<Value>,
    /// The texts that replace the marks.
    raw: Vec<String>,
}

impl Mutator {
    pub(super) fn new(start: u64, documents: Vec<Value>) -> Self {
        Self { course: Course::new(start), documents, raw: Vec::new() }
    }

    /// A mutant, and the number of its original document.
    pub(super) fn next(&mut self) -> (usize, Value) {
        let of = self.course.below(self.documents.len());
        let mut document = self.documents[of].clone();
        for _ in 0..=self.course.below(8) / 6 {
            match self.course.below(20) {
                0..=13 => self.change_evidence(&mut document),
                14 => self.change_root(&mut document),
                15..=17 => self.change_policy(&mut document),
                _ => self.change_surroundings(&mut document),
            }
        }
        (of, document)
    }

    fn change_evidence(&mut self, document: &mut Value) {
        let Some(number) = self.any_item(document) else { return };
        let digest = document["evidence"][number]["content"].clone();
        let Some(bytes) = content(document, &digest) else { return };
        let changed = self.change_bytes(&bytes);
        document["evidence"][number]["content"] = keep(document, &changed);
    }

    fn change_root(&mut self, document: &mut Value) {
        let digest = document["trusted_root"]["digest"].clone();
        let Some(bytes) = content(document, &digest) else { return };
        let changed = self.change_bytes(&bytes);
        document["trusted_root"]["digest"] = keep(document, &changed);
    }

    fn change_policy(&mut self, document: &mut Value) {
        let other = self.course.below(self.documents.len());
        let other = self.documents[other]["question"].clone();
        let question = &mut document["question"];
        let policy = &mut question["policy"];
        let flag =
            *self.course.one_of(&["certificates_need_log", "certificates_must_be_logged", "keys_need_log"]);
        match self.course.below(10) {
            0 => policy["threshold"] = json!(self.course.below(4)),
            1..=3 => policy[flag] = json!(policy[flag] != json!(true)),
            // A valid verdict has signers, and at most one identity.
            4 if other["policy"]["signers"].as_array().is_some_and(|signers| !signers.is_empty()) => {
                policy["signers"] = other["policy"]["signers"].clone();
            }
            5 => {
                let Some(signers) = policy["signers"].as_array_mut() else { return };
                let keys: Vec<Value> =
                    signers.iter().filter(|signer| signer["key"].is_object()).cloned().collect();
                if !keys.is_empty() {
                    signers.push(self.course.one_of(&keys).clone());
                }
            }
            6 => {
                let times = ["2021-06-01T00:00:00Z", "2023-11-01T00:00:00Z", "2025-01-01T00:00:00Z"];
                policy["minimum_time"] = json!(self.course.one_of(&times));
            }
            7 => policy["annotations"] = json!({"env": *self.course.one_of(&["prod", "test", ""])}),
            8 => question["predicate_type"] = other["predicate_type"].clone(),
            _ => question["expectations"] = other["expectations"].clone(),
        }
    }

    /// Changes what surrounds the evidence: its order and number, its subject, and the time.
    fn change_surroundings(&mut self, document: &mut Value) {
        let Some(number) = self.any_item(document) else { return };
        let other = document["trusted_root"]["digest"].clone();
        let times =
            ["2019-01-01T00:00:00Z", "2022-01-01T00:00:00Z", "2023-11-14T22:13:20Z", "2040-01-01T00:00:00Z"];
        let is_typed = document["question"]["predicate_type"].is_string();
        let evidence = &mut document["evidence"];
        match self.course.below(8) {
            0 => document["now"] = json!(self.course.one_of(&times)),
            1 => evidence[number]["subject"] = other,
            2 => evidence[number]["refers_to"] = other,
            3 => evidence[number]["annotations"]["dev.sigstore.bundle.content"] = json!("message-signature"),
            // Any statement may be requested for a file, but never for an image.
            4 if is_typed => {
                let forms = ["bundle", "file-bundle", "legacy-signature", "legacy-attestation"];
                evidence[number]["form"] = json!(self.course.one_of(&forms));
            }
            5 | 6 => {
                let Some(all) = evidence.as_array_mut() else { return };
                let mut again = all[number].clone();
                again["place"] = all.len().to_string().into();
                all.push(again);
            }
            _ => {
                let mut annotations = evidence[number]["annotations"].take();
                self.change_value(&mut annotations, 0);
                let texts = annotations.as_object().cloned().unwrap_or_default();
                let texts = texts.into_iter().filter(|(_, value)| value.is_string() && !is_marked(value));
                evidence[number]["annotations"] = Value::Object(texts.collect());
            }
        }
    }

    fn any_item(&mut self, document: &Value) -> Option<usize> {
        let count = document["evidence"].as_array().map_or(0, Vec::len);
        (count > 0).then(|| self.course.below(count))
    }

    /// Changes bytes, depending on their content.
    fn change_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let json = serde_json::from_slice::<Value>(bytes).ok().filter(Value::is_object);
        match json {
            Some(mut value) if self.course.below(10) > 0 => {
                self.change_value(&mut value, 0);
                self.written(&value).into_bytes()
            }
            _ => self.flip(bytes),
        }
    }

    /// The text of a value, with its marks replaced.
    fn written(&mut self, value: &Value) -> String {
        let mut text = value.to_string();
        for (number, raw) in self.raw.drain(..).enumerate() {
            text = text.replace(&mark(number).to_string(), &raw);
        }
        text
    }

    fn put_raw(&mut self, text: String) -> Value {
        self.raw.push(text);
        mark(self.raw.len() - 1)
    }

    /// Changes one bit or byte, or the length.
    fn flip(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        let at = self.course.below(changed.len());
        match self.course.below(8) {
            _ if changed.is_empty() => changed.push(0),
            0 => changed.truncate(at),
            1 => changed.push(*self.course.one_of(b"\0\n =x")),
            2 => _ = changed.remove(at),
            3 => changed.insert(at, b'0'),
            _ => changed[at] ^= 1 << self.course.below(8),
        }
        changed
    }

    /// Changes something in a value, at any depth.
    fn change_value(&mut self, value: &mut Value, depth: usize) {
        let goes_deeper = depth < 12 && self.course.below(8) > 0;
        match value {
            Value::Object(members) if !members.is_empty() && goes_deeper => {
                let names: Vec<String> = members.keys().cloned().collect();
                let name = self.course.one_of(&names).clone();
                if let Some(inner) = members.get_mut(&name) {
                    self.change_value(inner, depth + 1);
                }
            }
            Value::Array(items) if !items.is_empty() && goes_deeper => {
                let at = self.course.below(items.len());
                self.change_value(&mut items[at], depth + 1);
            }
            Value::Object(members) => self.change_members(members),
            Value::Array(items) => self.change_items(items),
            Value::String(text) => *value = self.change_text(text),
            Value::Number(_) | Value::Bool(_) | Value::Null => *value = self.change_number(value),
        }
    }

    fn change_members(&mut self, members: &mut Map<String, Value>) {
        let names: Vec<String> = members.keys().cloned().collect();
        let Some(name) = names.get(self.course.below(names.len())).cloned() else {
            members.insert("added".to_owned(), Value::Null);
            return;
        };
        let Some(value) = members.get(&name).cloned() else { return };
        match self.course.below(8) {
            0 => _ = members.remove(&name),
            1 => _ = members.insert(name, Value::Null),
            2 => _ = members.insert(snake_case(&name), value),
            3 => {
                members.remove(&name);
                members.insert(snake_case(&name), value);
            }
            4 => _ = members.insert(name.to_uppercase(), value),
            5 => _ = members.insert(name.replacen('s', "\u{17f}", 1), value),
            6 => {
                let (text, name_text) = (value.to_string(), json!(name).to_string());
                let twice = self.put_raw(format!("{text},{name_text}:{text}"));
                members.insert(name, twice);
            }
            _ => _ = members.insert("added".to_owned(), json!([])),
        }
    }

    fn change_items(&mut self, items: &mut Vec<Value>) {
        let at = self.course.below(items.len());
        match (self.course.below(5), items.get(at).cloned()) {
            (0, Some(_)) => _ = items.remove(at),
            (1, Some(item)) => items.insert(at, item),
            (2, Some(item)) => items.extend(vec![item; 17]),
            (3, Some(_)) => items.reverse(),
            _ => items.push(Value::Null),
        }
    }

    fn change_number(&mut self, value: &Value) -> Value {
        let text = value.to_string();
        let number = value.as_i64().unwrap_or_default();
        match self.course.below(11) {
            0 => json!(number.saturating_add(1)),
            1 => json!(number.saturating_sub(1)),
            2 => json!(text),
            3 => json!(format!("+{text}")),
            4 => json!(format!("0{text}")),
            5 => self.put_raw(format!("{text}.0")),
            6 => self.put_raw(format!("{text}e0")),
            7 => self.put_raw(format!("0{text}")),
            8 => json!(u64::MAX),
            9 => Value::Null,
            _ => json!(-1),
        }
    }

    fn change_text(&mut self, text: &str) -> Value {
        if text.contains("\n\u{2014} ") && self.course.below(6) > 0 {
            return json!(self.change_note(text));
        }
        let decoded = STANDARD.decode(text).ok().filter(|bytes| bytes.len() >= 8);
        if let Some(bytes) = decoded.filter(|_| self.course.below(6) > 0) {
            return match self.course.below(12) {
                0 => json!(URL_SAFE.encode(&bytes)),
                1 => json!(text.trim_end_matches('=')),
                2 => json!(format!("{text}=")),
                3 if bytes.starts_with(b"-----BEGIN") => {
                    let pem = String::from_utf8_lossy(&bytes).into_owned();
                    let changed = self
                        .course
                        .one_of(&[format!("{pem}\n"), format!("text\n{pem}"), format!("{pem}{pem}")])
                        .clone();
                    json!(STANDARD.encode(changed))
                }
                _ => {
                    let nested = self.change_bytes_within(&bytes);
                    json!(STANDARD.encode(nested))
                }
            };
        }
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() && self.course.below(3) > 0 {
            let number = serde_json::from_str(text).unwrap_or_else(|_| json!(0));
            return self.change_number(&number);
        }
        let at =
            text.char_indices().map(|(at, _)| at).nth(self.course.below(text.chars().count())).unwrap_or(0);
        match self.course.below(9) {
            0 => json!(format!("{text} ")),
            1 => json!(format!("{text}\n")),
            2 => json!(text.to_uppercase()),
            3 => json!(""),
            4 => Value::Null,
            5 => json!([text]),
            6 => {
                let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
                self.put_raw(format!("\"{}\"", units.concat()))
            }
            7 => json!(format!("{}x{}", &text[..at], &text[at..])),
            _ => json!(text.chars().skip(1).collect::<String>()),
        }
    }

    /// Changes bytes inside base64, whose marks are replaced before those outside.
    fn change_bytes_within(&mut self, bytes: &[u8]) -> Vec<u8> {
        let outer = std::mem::take(&mut self.raw);
        let changed = self.change_bytes(bytes);
        self.raw = outer;
        changed
    }

    /// Changes a signed note.
    fn change_note(&mut self, note: &str) -> String {
        let mut lines: Vec<String> = note.split('\n').map(str::to_owned).collect();
        let (one, other) = (self.course.below(lines.len()), self.course.below(lines.len()));
        match self.course.below(9) {
            0 => _ = lines.remove(one),
            1 => lines.insert(one, lines[other].clone()),
            2 => lines.insert(one, String::new()),
            3 => lines.swap(one, other),
            4 => lines.insert(one, "extra".to_owned()),
            5 => lines[one].push(' '),
            6 => lines[0] += *self.course.one_of(&[" - 123", " - x", " - ", " "]),
            7 => lines[1].insert(0, *self.course.one_of(&['0', '+', ' '])),
            _ => {
                let flipped = self.flip(lines[one].clone().as_bytes());
                lines[one] = String::from_utf8_lossy(&flipped).into_owned();
            }
        }
        lines.join("\n")
    }
}

fn mark(number: usize) -> Value {
    json!(format!("{MARK}{number}{MARK}"))
}

fn is_marked(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains(MARK))
}

/// The other spelling of protocol buffers' names.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn content(document: &Value, digest: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(document["contents"][digest.as_str()?].as_str()?).ok()
}

/// Adds bytes to the document, and returns their digest.
fn keep(document: &mut Value, bytes: &[u8]) -> Value {
    let digest = Sha256Digest::of(bytes).to_string();
    document["contents"][&digest] = STANDARD.encode(bytes).into();
    digest.into()
}
