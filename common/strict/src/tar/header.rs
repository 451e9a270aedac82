//! One header block.

use crate::{Refusal, printable};

/// The size of a block, in bytes.
pub(super) const BLOCK: u64 = 512;

/// The meaning of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Symbolic,
    Hard,
    /// An extension of the next header.
    Extension(Extension),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    /// Records of the pax format.
    Records,
    /// GNU's long name.
    Name,
    /// GNU's long link target.
    Link,
    /// Records of the pax format for the whole archive.
    Global,
}

/// The parts of a header that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) link: String,
    pub(super) size: u64,
    pub(super) kind: Kind,
}

impl Header {
    /// Parses a block that is not empty.
    pub(super) fn parse(block: &[u8; 512]) -> Result<Self, Refusal> {
        let sum = octal(&block[148..156]).ok_or_else(|| Refusal::malformed("it is not a tar archive"))?;
        let blank = [b' '; 8];
        let parts = block[..148].iter().chain(&blank).chain(&block[156..]);
        if parts.map(|byte| u64::from(*byte)).sum::<u64>() != sum {
            return Err(Refusal::malformed("it is not a tar archive, or a header of it is damaged"));
        }
        let name = field(&block[..100])?;
        let shown = printable(name);
        // Bytes that no program reads could hold a second archive in another format.
        let numbers = [("mode", &block[100..108]), ("owner", &block[108..116]), ("group", &block[116..124])];
        for (what, field) in numbers.into_iter().chain([("time", &block[136..148])]) {
            if octal(field).is_none() && !is_binary(field) {
                return Err(Refusal::ambiguous(format!("the {what} of `{shown}` is not a number")));
            }
        }
        let name = match &block[257..265] {
            b"ustar\x0000" if block[508..] == *b"tar\0" => {
                return Err(Refusal::ambiguous(format!("`{shown}` has a header of the program star")));
            }
            b"ustar\x0000" => {
                check_rest(block, &shown)?;
                if block[500..].iter().any(|byte| *byte != 0) {
                    return Err(Refusal::ambiguous(format!(
                        "`{shown}` has a header with something behind it"
                    )));
                }
                match field(&block[345..500])? {
                    "" => name.to_owned(),
                    prefix => format!("{prefix}/{name}"),
                }
            }
            // Where other forms have a prefix of the name, GNU has times, and the pieces of sparse files.
            b"ustar  \0" => {
                check_rest(block, &shown)?;
                let times = [&block[345..357], &block[357..369]];
                let are_times = times.iter().all(|field| number(field).is_some());
                if !are_times || block[369..].iter().any(|byte| *byte != 0) {
                    return Err(Refusal::ambiguous(format!(
                        "`{shown}` has a header that can be read in two ways"
                    )));
                }
                name.to_owned()
            }
            _ if block[257..].iter().all(|byte| *byte == 0) => name.to_owned(),
            _ => return Err(Refusal::ambiguous(format!("`{shown}` has a header of an unknown form"))),
        };
        let size = number(&block[124..136]);
        let size =
            size.ok_or_else(|| Refusal::ambiguous(format!("the size of `{shown}` is not a number")))?;
        let kind = match block[156] {
            b'0' | 0 => Kind::File,
            b'1' => Kind::Hard,
            b'2' => Kind::Symbolic,
            b'5' => Kind::Folder,
            b'x' => Kind::Extension(Extension::Records),
            b'g' => Kind::Extension(Extension::Global),
            b'L' => Kind::Extension(Extension::Name),
            b'K' => Kind::Extension(Extension::Link),
            other => {
                let kind = match other {
                    b'S' => "a sparse file".to_owned(),
                    other => format!("an entry of type `{}`", other.escape_ascii()),
                };
                let reason =
                    format!("`{shown}` is {kind}, which programs read in different ways or not at all");
                return Err(Refusal::ambiguous(reason));
            }
        };
        Ok(Self { name, link: field(&block[157..257])?.to_owned(), size, kind })
    }
}

/// The names of owner and group, and the device numbers, in forms that have them.
fn check_rest(block: &[u8; 512], shown: &str) -> Result<(), Refusal> {
    field(&block[265..297])?;
    field(&block[297..329])?;
    let device = [&block[329..337], &block[337..345]];
    if device.iter().any(|field| octal(field).is_none() && !is_binary(field)) {
        return Err(Refusal::ambiguous(format!("the device number of `{shown}` is none")));
    }
    Ok(())
}

/// A plausible number in GNU's base 256, such as a large owner or a time before 1970.
fn is_binary(bytes: &[u8]) -> bool {
    match bytes {
        [0x80, front @ .., _, _, _, _] => front.iter().all(|byte| *byte == 0),
        [0xff, front @ .., _, _, _, _] => front.iter().all(|byte| *byte == 0xff),
        _ => false,
    }
}

/// The text of a field, which ends at the first NUL. Everything after it must be NUL.
fn field(bytes: &[u8]) -> Result<&str, Refusal> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    if bytes[end..].iter().any(|byte| *byte != 0) {
        let text = bytes[..end].escape_ascii();
        return Err(Refusal::ambiguous(format!(
            "something follows after the end of the text `{text}` in a header"
        )));
    }
    std::str::from_utf8(&bytes[..end])
        .map_err(|_| Refusal::ambiguous(format!("the name `{}` is not UTF-8", bytes[..end].escape_ascii())))
}

/// A number in octal digits, with leading spaces and trailing spaces or NULs, or in GNU's base 256; an empty field is
/// 0.
fn number(bytes: &[u8]) -> Option<u64> {
    match bytes {
        [0x80, zeros @ .., _, _, _, _, _, _, _, _] if zeros.iter().all(|byte| *byte == 0) => {
            let last = bytes.len() - 8;
            let value = u64::from_be_bytes(bytes[last..].try_into().ok()?);
            (value < 1 << 63).then_some(value)
        }
        _ => octal(bytes),
    }
}

fn octal(bytes: &[u8]) -> Option<u64> {
    let start = bytes.iter().position(|byte| *byte != b' ').unwrap_or(bytes.len());
    let rest = &bytes[start..];
    let end = rest.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(rest.len());
    let (digits, padding) = rest.split_at(end);
    if padding.iter().any(|byte| !matches!(byte, b' ' | 0)) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_the_forms_that_all_programs_read() {
        for (field, value) in [
            (&b"00000000017\0"[..], Some(15)),
            (b"   17 \0\0\0\0\0\0", Some(15)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"0000000001x\0", None),
            (b"-0000000001\0", None),
            (b"1 7\0\0\0\0\0\0\0\0\0", None),
            (b"0x1\0\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }
}
