//! Tests of the parts. `tests/it/config.rs` tests the whole.

use proptest::prelude::*;

use super::json::{Value, read};
use super::source::{Source, Spot, clipped, quoted};
use super::{address, fields, file, suggest};

fn source(text: &str) -> Source<'_> {
    Source { name: "test", text }
}

/// Returns the cause of refusing this text, and the byte that the fault points at.
fn refused(text: &str) -> (usize, String) {
    let fault = read(&source(text)).expect_err(text);
    match fault.spot {
        Spot::At(offset) => (offset, fault.cause),
        other => panic!("{other:?} in {text}"),
    }
}

#[test]
fn values_know_where_they_stand() {
    let text = r#" {"a": [1, "x\n", null], "b": {"c": -1.5e3}}  {} "#;
    let nodes = read(&source(text)).unwrap();
    assert_eq!(nodes.iter().map(|node| node.at).collect::<Vec<_>>(), [1, 46]);
    let Value::Object(entries) = &nodes[0].value else { panic!("{nodes:?}") };
    assert_eq!((entries[0].at, &*entries[0].key, entries[0].node.at), (2, "a", 7));
    let Value::List(list) = &entries[0].node.value else { panic!("{entries:?}") };
    assert_eq!(list.iter().map(|node| node.at).collect::<Vec<_>>(), [8, 11, 18]);
    assert_eq!(list[1].value, Value::Text("x\n".into()));
    let Value::Object(inner) = &entries[1].node.value else { panic!("{entries:?}") };
    assert_eq!(inner[0].node.value, Value::Number("-1.5e3"));
}

#[test]
fn syntax_faults_point_at_the_first_wrong_byte() {
    let cases = [
        ("{\"a\" 1}", 5, "expected ':' after the key \"a\", found 1"),
        ("{\"a\": }", 6, "expected a value, found '}'"),
        ("{\"a\": 1 \"b\": 2}", 8, "expected ',' between two keys"),
        ("{\"a\": [1 2]}", 9, "expected ',' between two values"),
        ("{\"a\": [1}", 8, "expected ',' or ']' after a value, found '}'"),
        ("{\"a\": 1]", 7, "expected ',' or '}' after a value, found ']'"),
        ("{\"a\": 1,}", 7, "a comma before the closing '}'"),
        ("{,}", 1, "expected a key in double quotes, found ','"),
        ("{\"a\": 0x1F}", 6, "0x1F is not a number as JSON writes it"),
        ("{\"a\": +1}", 6, "expected a value, found +1"),
        ("{\"a\": True}", 6, "expected a value, found True"),
        ("{\"a\": \u{a0}1}", 6, "expected a value, found '\\u{a0}'"),
        ("{\"a\": “b”}", 6, "expected a value, found '“'"),
        ("{\"a\": \"b\u{1}\"}", 8, "a control character (code 1) in a string"),
        ("{\"a\": \"b\nc\"}", 6, "this string is not closed on its line"),
        ("{\"a\": \"\\ud800\"}", 6, "this string holds an escape that JSON does not know"),
        ("{\"a\": \"\\é\"}", 6, "this string holds an escape that JSON does not know"),
        ("{\"a\": \"\\", 6, "the text ends inside this string"),
        ("{\"a\": 1, \"\\u0061\": 2}", 9, "the key \"a\" stands twice in one object (first at 1:2)"),
        ("# comment", 0, "a comment, which JSON does not have"),
        ("{} {} x", 6, "unexpected x after the end of the configuration"),
        ("{\"a\":", 5, "the text ends where a value should stand"),
    ];
    for (text, offset, cause) in cases {
        assert_eq!(refused(text), (offset, cause.to_owned()), "{text}");
    }
}

#[test]
fn nesting_has_an_end() {
    for open in ["[", "{\"a\":"] {
        let (_, cause) = refused(&open.repeat(1_000_000));
        assert_eq!(cause, "objects and lists are nested more than 32 deep");
    }
    assert!(read(&source(&format!("{}{}", "[".repeat(32), "]".repeat(32)))).is_ok());
}

#[test]
fn positions_count_characters_and_skip_the_byte_order_mark() {
    let text = "\u{feff}ab\r\nçd\n";
    let positions =
        [(0, (1, 1)), (3, (1, 1)), (4, (1, 2)), (7, (2, 1)), (8, (2, 1)), (9, (2, 2)), (11, (3, 1)), (99, (3, 1))];
    for (offset, position) in positions {
        assert_eq!(source(text).position(offset), position, "{offset}");
    }
}

#[test]
fn addresses() {
    let good = [
        "localhost:1",
        "10.0.0.1:65535",
        "[::1]:8001",
        "[fe80::1%2]:8001",
        "a_b-c.example.org.:80",
        "xn--bcher-kva.example:80",
    ];
    for address in good {
        assert_eq!(address::check(address), Ok(()), "{address}");
    }
    let bad = [
        "",
        ":",
        ":1",
        "a",
        "a:",
        "a:0",
        "a:65536",
        "a:01",
        "a:-1",
        "a:+1",
        "a:1 ",
        " a:1",
        "a b:1",
        "a/b:1",
        "u@h:1",
        "::1:80",
        "[::1]",
        "[::1]:",
        "[::1",
        "[::1]80",
        "[::g]:80",
        "[127.0.0.1]:80",
        "[::1]:0",
        "[::1%eth0]:80",
        "1.2.3:80",
        "1.2.3.4.5:80",
        "256.0.0.1:80",
        "*:80",
        "tcp://a:1",
        "udp://a:1",
        ".a:1",
        "a..b:1",
        "bücher.example:80",
        "a:99999999999999999999",
        "a:１",
    ];
    for address in bad {
        assert!(address::check(address).is_err(), "{address}");
    }
    assert_eq!(address::without_scheme("TCP://a:1"), "a:1");
    assert_eq!(address::without_scheme("tcp:/é"), "tcp:/é");
}

#[test]
fn pids() {
    assert_eq!(fields::pid("0"), Ok(0));
    assert_eq!(fields::pid("18446744073709551614"), Ok(u64::MAX - 1));
    for bad in ["", "-0", "-1", "+1", "1.0", "1e3", " 1", "x", "18446744073709551615", "18446744073709551616"] {
        assert!(fields::pid(bad).is_err(), "{bad}");
    }
}

#[test]
fn suggestions() {
    let known = ["Id", "Address", "InboxSize"];
    let nearest = |unknown| suggest::nearest(unknown, known);
    assert_eq!(nearest("ID"), Some("Id"));
    assert_eq!(nearest("address"), Some("Address"));
    assert_eq!(nearest("Adress"), Some("Address"));
    assert_eq!(nearest("inbox_size"), Some("InboxSize"));
    assert_eq!(nearest("port"), None);
    assert_eq!(nearest(""), None);
    assert_eq!(nearest(&"x".repeat(1 << 20)), None);
}

#[test]
fn what_is_quoted_stays_short_and_on_one_line() {
    assert_eq!(quoted("a\n\"b\""), r#""a\n\"b\"""#);
    assert_eq!(quoted(&"x".repeat(1000)).chars().count(), 63);
    assert_eq!(clipped(&"1".repeat(1000)).chars().count(), 61);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = file::parse_bytes(&bytes, "random");
    }

    #[test]
    fn no_json_like_text_makes_it_panic(text in r#"([{}\[\],:"\\ 0-9.eE+-]|"Pid"|"Addr"|"servers"|"peersPid"|true|null|é){0,60}"#) {
        let _ = file::parse_bytes(text.as_bytes(), "random");
    }

    #[test]
    fn what_serde_json_reads_is_read_and_nothing_else(text in r#"[\[{]([{}\[\],:]|"a"|"b"|1|-0|1e5|true| ){0,12}[\]}]"#) {
        let ours = read(&source(&text));
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(_) => prop_assert!(ours.is_ok() || refused(&text).1.contains("stands twice"), "{}", text),
            // Objects may follow one another here.
            Err(error) => prop_assert!(ours.is_err() || error.to_string().starts_with("trailing characters"), "{}", text),
        }
    }
}
