//! What is said about each file that is not a configuration.

use std::collections::BTreeSet;

use cluster::Config;

use super::{files, folder};

/// Every file in `configs/invalid`, with what is said about it after its name.
const INVALID: &[(&str, &str)] = &[
    (
        "address-is-a-number.json",
        r#"1:33: expected a string for "Address", found a number; put the value in double quotes"#,
    ),
    (
        "bad-escape.json",
        r#"1:20: this string holds an escape that JSON does not know; use \" \\ \/ \b \f \n \r \t or \u and four digits (two of them for a surrogate pair)"#,
    ),
    ("bad-ipv4.json", r#"1:20: "10.0.0.300" is not an IPv4 address; write four numbers from 0 to 255, like 127.0.0.1"#),
    (
        "broadcast-pid.json",
        "1:9: pid 18446744073709551615 is reserved: it means BROADCAST; use a number from 0 to 18446744073709551614",
    ),
    ("checksum-word.json", r#"2:15: "Headers" is not a value of "checksum"; did you mean "header"?"#),
    (
        "cluster-name.json",
        r#"2:14: the cluster's name "my cluster" holds a space or a character that cannot be printed; use letters, digits and signs"#,
    ),
    (
        "comma-between-objects.json",
        "1:38: unexpected ',' between two objects; remove it: objects that follow one another have no comma between them",
    ),
    ("comment.json", "1:12: a comment, which JSON does not have; remove it"),
    ("connect-word.json", r#"2:14: "lazy" is not a value of "connect"; use one of "on_demand", "eager""#),
    (
        "duplicate-address.json",
        r#"1:65: address "127.0.0.1:9001" is given twice (first at 1:29); give each server an address of its own"#,
    ),
    ("duplicate-key.json", r#"2:42: the key "Id" stands twice in one object (first at 2:4); keep one of them"#),
    ("duplicate-pid.json", "2:9: pid 7 is given twice (first at 1:9); give each server a pid of its own"),
    ("empty.json", r#"1:1: the file is empty; write {"servers": [{"pid": 100, "address": "127.0.0.1:8001"}]}"#),
    (
        "fractional-pid.json",
        "1:9: 1.5 is not a pid: pids are whole numbers; use a number from 0 to 18446744073709551614",
    ),
    (
        "handle-with-port.json",
        r#"1:36: "peersHandle" is "127.0.0.1:5000", which has a port; end it after the host: a peer's port is "startAddress" + its pid"#,
    ),
    (
        "heartbeat.json",
        "2:28: peer_timeout_ms is 1250, less than twice heartbeat_interval_ms (1000); use a peer_timeout_ms of 2000 or more",
    ),
    ("huge-pid.json", "1:9: 99999999999999999999 is too large for a pid; use a number from 0 to 18446744073709551614"),
    (
        "huge-size.json",
        r#"1:67: "OutboxSize" is 2000000000 envelopes, more than 1099511627776 bytes; use 1073741824 or less, or 0 for the default"#,
    ),
    ("inbox-too-small.json", "2:18: inbox_bytes is 1000, less than 131072; use 131072 or more"),
    ("ip-with-port.json", r#"1:19: "IP" is "127.0.0.1:8081", which has a port; leave the port to "Port1""#),
    (
        "ipv6-without-brackets.json",
        r#"1:20: the host "::1" holds a ':'; put an IPv6 address in brackets, like [::1]:8001"#,
    ),
    (
        "leading-zero.json",
        "1:9: 007 is not a number as JSON writes it; write digits alone, without leading zeros, units or separators",
    ),
    (
        "list-of-servers.json",
        r#"1:1: expected an object, found a list; write {"servers": [{"pid": 100, "address": "127.0.0.1:8001"}]}"#,
    ),
    ("missing-colon.json", r#"1:8: expected ':' after the key "Pid", found 1; write "key": value"#),
    ("missing-comma-and-quotes.json", "4:10: expected ',' between two servers; add a comma after the `}` at 3:48"),
    (
        "missing-key.json",
        r#"3:3: the key "Address" of a server is missing; add "Address" to the object that begins here"#,
    ),
    (
        "missing-servers.json",
        r#"1:1: the key "servers" of the configuration is missing; add "servers" to the object that begins here"#,
    ),
    (
        "missing-total.json",
        r#"1:12: the key "total" of "object" is missing; add "total" to the object that begins here"#,
    ),
    (
        "mixed-shapes.json",
        r#"2:1: this object has the keys "ID", "IP", "Port1", "Port2", the first one (at 1:1) "Pid", "Addr"; write all servers with the same keys"#,
    ),
    ("nearly-a-format.json", r#"1:2: "peers" is not a key of any known format; did you mean "Peers"?"#),
    ("negative-pid.json", "1:9: -5 is not a pid: pids are not negative; use a number from 0 to 18446744073709551614"),
    (
        "negative-size.json",
        r#"1:66: "InboxSize" is -1, which is out of range; use a whole number from 0 to 18446744073709551615"#,
    ),
    (
        "nested-too-deeply.json",
        "1:44: objects and lists are nested more than 32 deep; flatten the file: no format needs more than 4 levels",
    ),
    ("no-host.json", r#"1:20: the address has no host; write host:port, for example "127.0.0.1:8001""#),
    ("no-pids.json", "1:14: there are no servers; add at least one, with its pid and its address"),
    ("no-port.json", r#"1:20: "127.0.0.1" has no port; write host:port, for example "127.0.0.1:8001""#),
    ("no-servers.json", "1:13: there are no servers; add at least one, with its pid and its address"),
    ("not-utf8.json", "1:24: the byte 0xe9 is not UTF-8; save the file as UTF-8"),
    (
        "other-scheme.json",
        r#"1:20: "ipc://cluster.sock" begins with "ipc://"; write host:port alone; TCP is the only transport"#,
    ),
    (
        "pid-list-hole.json",
        r#"1:17: a pid is missing beside this comma; write pids with one comma between two of them: "1,2""#,
    ),
    ("port-is-a-name.json", r#"1:20: "http" is not a port: ports are 1 to 65535; write the port as a number"#),
    ("port-out-of-range.json", "8:33: 100001 is not a port: ports are 1 to 65535; choose a port in that range"),
    (
        "port-range.json",
        r#"2:24: pid 70000 and "startAddress" 5000 (at 4:19) make port 75000: ports are 1 to 65535; choose a smaller pid, or a "startAddress" that leaves room for it"#,
    ),
    ("port-zero.json", "1:20: 0 is not a port: peers could not find the server; choose a port from 1 to 65535"),
    ("reserved-pid.json", "1:9: pid -1 is reserved: it means BROADCAST; use a number from 0 to 18446744073709551614"),
    (
        "second-object.json",
        r#"2:1: a second object follows the configuration (keys "Peers"); remove it: objects follow one another only where each is one server"#,
    ),
    ("second-port.json", "1:58: 80910 is not a port: ports are 1 to 65535; choose a port in that range"),
    ("single-quotes.json", r#"1:2: expected a key in double quotes, found "'"; use plain double quotes: ""#),
    ("threading-shards.json", "2:41: threading.dedicated.shards is 0, less than 1; use 1 or more"),
    ("threading-word.json", r#"2:16: "dedicated" does not say how many threads; write {"dedicated": {"shards": 2}}"#),
    ("total-disagrees.json", r#"1:22: "total" is 3, but "Servers" (at 1:36) lists 2; write 2, or complete the list"#),
    ("trailing-comma.json", "2:41: a comma before the closing ']'; remove the comma"),
    (
        "trailing-garbage.json",
        "2:1: unexpected ']' after the end of the configuration; remove what follows the last '}'",
    ),
    ("truncated.json", r#"1:55: the text ends inside this string; complete the file: close the string with '"'"#),
    (
        "unclosed.json",
        "2:41: the text ends where ',' or ']' after a value should stand; complete the file: the `[` at 1:11 is not closed",
    ),
    (
        "unknown-format.json",
        r#"1:1: no key of this object tells where the servers are; write {"servers": [{"pid": 100, "address": "127.0.0.1:8001"}]}"#,
    ),
    ("unknown-key.json", r#"3:15: "address" is not a key of a server; did you mean "Address"?"#),
    (
        "unknown-setting.json",
        r#"3:3: "colour" is not a key of the configuration; the keys are "cluster", "servers", "inbox_bytes", "outbox_bytes", "socket_bytes", "max_envelope_bytes", "first_message_id", "heartbeat_interval_ms", "peer_timeout_ms", "connect", "checksum", "neighbours", "raise_descriptor_limit", "threading", "driver", "idle""#,
    ),
    ("unquoted-key.json", r#"2:3: the key InboxSize stands without quotes; put keys in double quotes: "InboxSize""#),
    ("utf16.json", "1:1: the byte 0xff is not UTF-8; save the file as UTF-8"),
    (
        "wildcard-host.json",
        r#"1:20: "*" is not a host that peers could connect to; write the name or the IP address of the server"#,
    ),
    ("wrong-type.json", r#"1:19: expected a number for "Id", found a string; remove the quotes: 1"#),
];

#[test]
fn every_invalid_file_is_refused_with_place_cause_and_cure() {
    for (file, message) in INVALID {
        let path = folder("invalid").join(file);
        let error = Config::from_file(&path).expect_err(file);
        assert_eq!(error.to_string(), format!("{}:{message}", path.display()));
        assert_eq!(error.name(), path.display().to_string());
        assert!(error.position().is_some() && error.excerpt().is_some(), "{file}");
    }
    let listed: BTreeSet<_> = INVALID.iter().map(|(file, _)| file.to_string()).collect();
    assert_eq!(listed, files("invalid"), "the table and the folder differ");
}
