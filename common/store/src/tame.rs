//! Cleans up listings of buckets before their client reads them.
//!
//! Anyone who may put objects chooses their names. `object_store` fails a whole listing because of one name that it
//! cannot represent: with a control character, an empty part, `.` or `..`. It also trims slashes and white space off
//! the ends of others, so that they look like names that they are not. This module escapes the parts of such names in
//! the answer, into something that the client accepts and that no object of ours is called, so that they are passed
//! over like all invalid names.

use std::borrow::Cow;
use std::fmt::Write as _;

use object_store::client::HttpRequest;
use quick_xml::events::{BytesText, Event};
use quick_xml::{Reader, Writer};

/// Whether the answer is a list of objects: S3 and Google use one parameter, Azure the other.
pub(crate) fn is_listing(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method().as_str() == "GET"
        && query.split('&').any(|parameter| matches!(parameter, "list-type=2" | "comp=list"))
}

/// The same list, with names that the client can represent. If it is not XML, the client will refuse it.
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
    // The client's parser trims white space off both ends.
    let is_odd = |part: &str| {
        matches!(part, "" | "." | "..") || part.trim() != part || part.chars().any(char::is_control)
    };
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
                    if c.is_control() || c.is_whitespace() {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Location, Obstacle, OpenOptions, PassedOver, Settings, Store};

    #[test]
    fn names_are_changed_only_where_no_client_could_hold_them() {
        for name in ["a/b", "a b", "caf\u{e9}", "a%0Ab", "a\\b", "...", "a~b#c", ".a/b."] {
            assert!(matches!(tame(name), Cow::Borrowed(same) if same == name), "{name}");
        }
        for (name, expected) in [
            ("a\nb/c", "a%0Ab/c"),
            ("a/\u{1}", "a/%01"),
            ("a/\u{7f}/\u{85}", "a/%7F/%C2%85"),
            ("/a", "%2F/a"),
            ("a/", "a/%2F"),
            ("a//b", "a/%2F/b"),
            (" a/b c", "%20a/b%20c"),
            ("a/b c ", "a/b%20c%20"),
            ("a/../b/.", "a/%2E%2E/b/%2E"),
            ("", "%2F"),
        ] {
            assert_eq!(tame(name), expected);
            let held = object_store::path::Path::parse(expected).unwrap();
            assert_eq!((held.as_ref(), crate::name::check(expected).is_err()), (expected, true));
        }
    }

    #[test]
    fn a_list_without_such_names_is_left_as_it_is() {
        let list = "<?xml version=\"1.0\"?>\n<R><Name>bucket</Name>\n <Contents><Key>a/b</Key><Size>1</Size></Contents></R>";
        assert!(matches!(names(list), Cow::Borrowed(same) if same == list));
        for no_list in ["", "no <XML", "<R><Key>a</R>"] {
            assert!(matches!(names(no_list), Cow::Borrowed(same) if same == no_list));
        }
    }

    #[test]
    fn nothing_but_names_changes() {
        let list = "<R xmlns=\"x\"><Contents><Key>a&amp;b&#xA;&lt;c</Key><ETag>&quot;e&quot;</ETag></Contents><T a=\"1\"/></R>";
        let expected = list.replace("&#xA;", "%0A");
        assert_eq!(names(list), expected);
        let unknown = "<R><Key>a/&#x0;</Key></R>";
        assert_eq!(names(unknown), "<R><Key>a/%26#x0;</Key></R>");
    }

    /// A server that answers every request with one list.
    async fn server(list: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap() > 0 {}
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", list.len());
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(list.as_bytes()).await.unwrap();
            }
        });
        format!("http://{address}")
    }

    async fn store(location: &str, settings: &[(&str, &str)]) -> Store {
        let settings: Settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Store::open(&Location::parse(location).unwrap(), &settings, OpenOptions::default()).await.unwrap()
    }

    async fn is_listed_past_odd_names(store: &Store) {
        let listing = store.listing("snapshots/W2").await.unwrap();
        let keys: Vec<_> = listing.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["snapshots/W2/1", "snapshots/W2/2"]);
        let places = [
            "snapshots/W2/%2F",
            "snapshots/W2/%2F/b",
            "snapshots/W2/1/%2F",
            "snapshots/W2/2%20",
            "snapshots/W2/a b",
            "snapshots/W2/a%0Ab",
        ];
        let expected = places.map(|place| PassedOver { place: place.to_owned(), obstacle: Obstacle::Name });
        assert_eq!(listing.passed_over, expected);
        assert_eq!(listing.gap_in("snapshots/W2"), None);
        assert_eq!(store.list("snapshots/W2").await.unwrap(), listing.entries);
    }

    #[tokio::test]
    async fn one_odd_name_costs_nobody_the_list_of_a_bucket() {
        const S3: &str = "<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>\
            <Contents><Key>repo/snapshots/W2/</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>0</Size></Contents>\
            <Contents><Key>repo/snapshots/W2//b</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>\
            <Contents><Key>repo/snapshots/W2/1</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>\
            <Contents><Key>repo/snapshots/W2/1/</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>\
            <Contents><Key>repo/snapshots/W2/a&#10;b</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>\
            <Contents><Key>repo/snapshots/W2/a b</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>\
            <Contents><Key>repo/snapshots/W2/2 </Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>9</Size></Contents>\
            <Contents><Key>repo/snapshots/W2/2</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>2</Size></Contents>\
            </ListBucketResult>";
        let endpoint = server(S3).await;
        let s3 = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "key"),
        ];
        is_listed_past_odd_names(&store("s3://bucket/repo", &s3).await).await;
        is_listed_past_odd_names(&store("gs://bucket/repo", &[("STORAGE_EMULATOR_HOST", &endpoint)]).await)
            .await;
    }

    #[tokio::test]
    async fn one_odd_name_costs_nobody_the_list_of_a_container() {
        macro_rules! blob {
            ($name:literal) => {
                concat!(
                    "<Blob><Name>repo/snapshots/W2/", $name, "</Name><Properties>\
                     <Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified><Content-Length>1</Content-Length>\
                     <Content-Type>x</Content-Type><Etag>e</Etag></Properties></Blob>"
                )
            };
        }
        const AZURE: &str = concat!(
            "<EnumerationResults><Blobs>",
            blob!("/b"),
            blob!("1"),
            blob!("1/"),
            blob!("a b"),
            blob!("a&#xA;b"),
            blob!("2"),
            "</Blobs><NextMarker/></EnumerationResults>"
        );
        let endpoint = server(AZURE).await;
        let connection = format!("AccountName=a;AccountKey=a2V5;BlobEndpoint={endpoint};");
        let store = store("az://container/repo", &[("AZURE_STORAGE_CONNECTION_STRING", &connection)]).await;
        let listing = store.listing("snapshots/W2").await.unwrap();
        assert_eq!((listing.entries.len(), listing.passed_over.len()), (2, 4), "{listing:?}");
    }
}
