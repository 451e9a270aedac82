//! Listings of buckets, looked over before their client reads them.
//!
//! Whoever may put objects chooses their names, and `object_store` gives up a whole listing over one name that it cannot
//! hold: with a control character, an empty part, `.` or `..`; and it cuts slashes off the ends of others, so that they
//! look like names that they are not. Here the parts of such names are escaped in the answer, into what the client takes
//! and no object of ours is called, so that they are passed over like all that have such names.

use std::borrow::Cow;
use std::fmt::Write as _;

use object_store::client::HttpRequest;
use quick_xml::events::{BytesText, Event};
use quick_xml::{Reader, Writer};

/// Whether the answer is a list of objects: S3 and Google ask with the one parameter, Azure with the other.
pub(crate) fn is_listing(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method().as_str() == "GET"
        && query.split('&').any(|parameter| matches!(parameter, "list-type=2" | "comp=list"))
}

/// The same list, with names that the client can hold. What is no XML is left to the client to refuse.
pub(crate) fn names(xml: &str) -> Cow<'_, str> {
    match rewritten(xml) {
        Ok(Some(tame)) => Cow::Owned(tame),
        Ok(None) | Err(_) => Cow::Borrowed(xml),
    }
}

fn rewritten(xml: &str) -> Result<Option<String>, quick_xml::Error> {
    let mut reader = Reader::from_str(xml);
    let mut writer = Writer::new(Vec::with_capacity(xml.len()));
    let mut is_changed = false;
    loop {
        let event = reader.read_event()?;
        match &event {
            Event::Eof => break,
            // A name in S3's and Google's list, and in Azure's.
            Event::Start(start) if matches!(start.local_name().as_ref(), b"Key" | b"Name") => {
                let end = start.to_end().into_owned();
                let raw = reader.read_text(end.name())?;
                let raw = raw.decode()?;
                let name =
                    quick_xml::escape::unescape(&raw).unwrap_or_else(|_| raw.replace('&', "%26").into());
                let tame = tame(&name);
                is_changed |= *tame != *raw;
                writer.write_event(event)?;
                writer.write_event(Event::Text(BytesText::new(&tame)))?;
                writer.write_event(Event::End(end))?;
                continue;
            }
            _ => {}
        }
        writer.write_event(event)?;
    }
    Ok(if is_changed { String::from_utf8(writer.into_inner()).ok() } else { None })
}

fn tame(name: &str) -> Cow<'_, str> {
    let is_odd = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
    if !name.split('/').any(is_odd) {
        return Cow::Borrowed(name);
    }
    let mut tame = String::with_capacity(name.len() + 8);
    for (place, part) in name.split('/').enumerate() {
        if place > 0 {
            tame.push('/');
        }
        match part {
            "" => tame.push_str("%2F"),
            "." | ".." => tame.push_str(&part.replace('.', "%2E")),
            part => {
                for c in part.chars() {
                    if c.is_control() {
                        let mut bytes = [0; 4];
                        for byte in c.encode_utf8(&mut bytes).bytes() {
                            let _ = write!(tame, "%{byte:02X}");
                        }
                    } else {
                        tame.push(c);
                    }
                }
            }
        }
    }
    Cow::Owned(tame)
}
