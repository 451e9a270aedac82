use proptest::prelude::*;

use super::*;
use crate::Fault;

const DESCRIPTOR: Structure = Structure::open(&[
    ("mediaType", Shape::Any),
    ("digest", Shape::Any),
    ("annotations", Shape::Map(&Shape::Any)),
]);
const INDEX: Shape =
    Shape::Structure(&Structure::open(&[("manifests", Shape::List(&Shape::Structure(&DESCRIPTOR), 3))]));
const CLOSED: Shape = Shape::Structure(&Structure::closed(&[("hint", Shape::Any)]));

fn any(text: &str) -> Result<(), Refusal> {
    check(text.as_bytes(), &Shape::Any, Limits::UNSIGNED)
}

fn refusal(text: &str, shape: &Shape) -> (Fault, String) {
    let refusal = check(text.as_bytes(), shape, Limits::UNSIGNED).unwrap_err();
    (refusal.fault, refusal.reason)
}

#[test]
fn a_member_that_stands_twice_is_found_however_it_is_written() {
    any(r#"{"a":{"b":[1,2.5,-3,null,true,"x"]},"c":{"b":1}}"#).unwrap();
    for twice in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"b":2,"a":3}]}"#, r#"{"a":1,"\u0061":2}"#] {
        let (fault, reason) = refusal(twice, &Shape::Any);
        assert_eq!(fault, Fault::Ambiguous);
        assert!(reason.starts_with("the member `a` stands twice"), "{reason}");
    }
    let many: Vec<String> = (0..1000).map(|number| format!("\"{number}\":0")).collect();
    any(&format!("{{{}}}", many.join(","))).unwrap();
    let (_, reason) = refusal(&format!("{{{},\"500\":1}}", many.join(",")), &Shape::Any);
    assert!(reason.starts_with("the member `500` stands twice"), "{reason}");
}

#[test]
fn in_a_structure_names_that_differ_in_case_alone_are_one_and_in_a_map_they_are_two() {
    check(
        br#"{"manifests":[{"digest":"x","annotations":{"a":1,"A":2}}],"other":{"b":1,"B":2}}"#,
        &INDEX,
        Limits::UNSIGNED,
    )
    .unwrap();
    for (text, said) in [
        (r#"{"manifests":[],"Manifests":[]}"#, "the member `Manifests` is `manifests` to"),
        (r#"{"Manifests":[]}"#, "the member `Manifests` is `manifests` to"),
        ("{\"manifests\":[],\"manife\u{17f}ts\":[]}", r"the member `manife\u{17f}ts` is `manifests` to"),
        (r#"{"manifests":[],"manife\u017fts":[]}"#, r"the member `manife\u{17f}ts` is `manifests` to"),
        (r#"{"manifests":[{"digest":"x","Digest":"y"}]}"#, "the member `Digest` is `digest` to"),
        (r#"{"manifests":[{"mediatype":"x"}]}"#, "the member `mediatype` is `mediaType` to"),
        (r#"{"manifests":[],"more":1,"MORE":2}"#, "the member `MORE` stands twice"),
        (r#"{"manifests":[{"annotations":{"a":1,"a":2}}]}"#, "the member `a` stands twice"),
    ] {
        let (fault, reason) = refusal(text, &INDEX);
        assert_eq!(fault, Fault::Ambiguous, "{text}");
        assert!(reason.starts_with(said), "{text}: {reason}");
    }
}

#[test]
fn a_closed_structure_has_no_other_members_and_nothing_stands_in_for_an_object() {
    check(br#"{"hint":"x"}"#, &CLOSED, Limits::UNSIGNED).unwrap();
    check(b"null", &CLOSED, Limits::UNSIGNED).unwrap();
    assert_eq!(
        refusal(r#"{"hint":1,"more":2}"#, &CLOSED).1,
        "the member `more` is not known at line 1 column 17"
    );
    assert_eq!(refusal(r#"["x"]"#, &CLOSED).1, "an object belongs here at line 1 column 0");
    assert_eq!(refusal(r#"{"manifests":{}}"#, &INDEX).1, "a list belongs here at line 1 column 13");
}

#[test]
fn ceilings_hold_while_the_document_is_read() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    any(&nested(Limits::MAX_DEPTH)).unwrap();
    assert!(refusal(&nested(Limits::MAX_DEPTH + 1), &Shape::Any).1.contains("deep"));
    assert!(any(&"[".repeat(1_000_000)).is_err());
    let items = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
    any(&items(1 << 16)).unwrap();
    let (fault, reason) = refusal(&items((1 << 16) + 1), &Shape::Any);
    assert_eq!(fault, Fault::TooLarge);
    assert!(reason.starts_with("it holds more than 65536 values"), "{reason}");
    let (fault, reason) = refusal(r#"{"manifests":[{},{},{},{}]}"#, &INDEX);
    assert_eq!(fault, Fault::TooLarge);
    assert!(reason.starts_with("a list holds more than 3 entries"), "{reason}");
    any(&format!("\"{}\"", "x".repeat(2 << 20))).unwrap();
    assert!(refusal(&format!("\"{}\\n\"", "x".repeat(2 << 20)), &Shape::Any).1.contains("with escapes"));
}

#[test]
fn lists_stand_where_a_format_has_them_and_nowhere_else() {
    const SHAPE: Shape = Shape::ListsAt(&["list"]);
    for good in
        [r#"{"list":[]}"#, r#"{"list":[{"list":[1,"a",null]},{}]}"#, r#"{"a":{"b":{"list":[{}]}},"c":1}"#]
    {
        check(good.as_bytes(), &SHAPE, Limits::UNSIGNED).unwrap();
    }
    for bad in [
        r#"{"a":[]}"#,
        r#"{"list":[[]]}"#,
        "[]",
        r#"{"list":{"a":[1]}}"#,
        r#"{"List":[]}"#,
        r#"{"a":1,"b":{"c":["x"]}}"#,
    ] {
        let (fault, reason) = refusal(bad, &SHAPE);
        assert!(fault == Fault::Malformed && reason.contains("no list belongs here"), "{bad}: {reason}");
    }
    assert!(refusal(r#"{"list":[],"list":[]}"#, &SHAPE).1.contains("twice"));
    assert!(refusal(r#"{"a":1,"\u0061":2}"#, &SHAPE).1.contains("twice"));
}

#[test]
fn what_is_no_json_is_refused() {
    for bad in [
        "",
        "{} {}",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "[01]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[1e]",
        "nul",
        "tru",
        "'a'",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\n\"",
        "[NaN]",
        "{1:2}",
        "{\"a\" 1}",
        "\u{feff}{}",
        "\u{a0}1",
        "\"\\u00e",
        "\"\\u+041\"",
    ] {
        assert!(any(bad).is_err(), "{bad}");
    }
    assert!(check(b"{\"a\":\"\xff\"}", &Shape::Any, Limits::UNSIGNED).is_err());
}

proptest! {
    /// The parser accepts whatever the scanner accepts, and the other way round, except for what is refused on purpose.
    #[test]
    fn the_scanner_and_the_parser_agree(text in r#"[\[\]\{\},:"\\a-cu0-9eE+.\- \n]{0,24}|(\{("[ab]{1,2}":(1|"x"|null|\[\])[,:]?){0,4}\}?)"#) {
        let parsed = serde_json::from_str::<serde_json::Value>(&text);
        match any(&text) {
            Ok(()) => prop_assert!(parsed.is_ok() || parsed.is_err_and(|error| error.to_string().contains("out of range"))),
            Err(refusal) => prop_assert!(parsed.is_err() || refusal.fault == Fault::Ambiguous, "{text}: {refusal}"),
        }
    }
}
