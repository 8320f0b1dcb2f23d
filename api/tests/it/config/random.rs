//! No input does harm: cut files, changed files, any text; and what is written is read back.

use std::fs;

use cluster::{BROADCAST, Checksum, Config, ConfigError, Connect, Idle, Neighbours, Threading};
use proptest::prelude::*;

use super::{files, folder};

#[test]
fn a_file_cut_anywhere_loads_or_says_where() {
    for folder_name in ["valid", "invalid"] {
        for file in files(folder_name) {
            let bytes = fs::read(folder(folder_name).join(&file)).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
                let cut = &text[..end];
                let loads = check(cut);
                // Cut between two objects, fewer servers are left; cut anywhere else, nothing is.
                let whole = cut.matches(['{', '[']).count() == cut.matches(['}', ']']).count();
                assert!(!loads || whole, "{file} cut at {end} loads");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_configuration_survives_being_written_and_read(config in valid_config()) {
        prop_assert_eq!(config.validate(), Ok(()));
        prop_assert_eq!(Config::parse(&config.to_json(), "again"), Ok(config));
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn no_change_to_a_file_makes_it_panic(
        (file, at, removed, inserted) in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4usize, mutation())
    ) {
        let (valid, invalid) = (files("valid"), files("invalid"));
        let paths: Vec<_> = valid.iter().map(|name| folder("valid").join(name))
            .chain(invalid.iter().map(|name| folder("invalid").join(name))).collect();
        let mut bytes = fs::read(file.get(&paths)).unwrap();
        let start = at.index(bytes.len() + 1);
        let end = (start + removed).min(bytes.len());
        bytes.splice(start..end, inserted.bytes());
        check(&String::from_utf8_lossy(&bytes));
    }
}

/// Parses; whether it loaded. What loads must be valid and survive a round trip; what does not must say where and why.
fn check(text: &str) -> bool {
    match Config::parse(text, "test") {
        Ok(config) => {
            assert_eq!(config.validate(), Ok(()));
            assert_eq!(Config::parse(&config.to_json(), "again"), Ok(config));
            true
        }
        Err(error) => {
            check_error(&error, text);
            false
        }
    }
}

fn check_error(error: &ConfigError, text: &str) {
    let (line, column) = error.position().expect("a text has positions");
    let lines: Vec<_> = text.split('\n').collect();
    assert!((1..=lines.len()).contains(&line), "{error}");
    assert!((1..=lines[line - 1].chars().count() + 1).contains(&column), "{error}");
    assert!(!error.cause().is_empty() && !error.cure().is_empty(), "{error:?}");
    assert!(!error.to_string().contains(char::is_control), "{error:?}");
    assert_eq!(error.excerpt().map(|excerpt| excerpt.lines().count()), Some(2));
}

fn valid_config() -> impl Strategy<Value = Config> {
    let host = prop_oneof![
        "[a-z][a-z0-9_-]{0,12}(\\.[a-z]{1,5}){0,2}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
    ];
    // The port follows from the place in the list, so that no address is given twice.
    let servers = proptest::collection::btree_map(0..BROADCAST, host, 1..20).prop_map(|hosts| {
        hosts.into_iter().enumerate().map(|(index, (pid, host))| (pid, format!("{host}:{}", 60_000 - index)))
    });
    let sizes = (
        Config::MIN_INBOX_BYTES..=Config::MAX_BUFFER_BYTES,
        Config::MIN_OUTBOX_BYTES..=Config::MAX_BUFFER_BYTES,
        prop_oneof![Just(0), Config::MIN_SOCKET_BYTES..=Config::MAX_SOCKET_BYTES],
        1..=Config::MAX_ENVELOPE_BYTES,
        any::<i64>(),
    );
    let times = (1..=3_600_000u64).prop_flat_map(|interval| (Just(interval), 2 * interval..=86_400_000));
    let threading = prop_oneof![
        Just(Threading::Shared),
        Just(Threading::Inline),
        (1..=1024usize).prop_map(|shards| Threading::Dedicated { shards }),
    ];
    let idle = (0..=60_000_000u64, 0..=60_000_000u64, any::<bool>()).prop_map(|(spin_us, yield_us, park)| Idle {
        spin_us,
        yield_us,
        park,
    });
    let connect = prop_oneof![Just(Connect::OnDemand), Just(Connect::Eager)];
    let checksum = prop_oneof![Just(Checksum::Header), Just(Checksum::Payload)];
    let neighbours = prop_oneof![Just(Neighbours::Memory), Just(Neighbours::Tcp)];
    let name = "[!-~\u{c0}-\u{ff}日本]{1,20}";
    let ways = (connect, checksum, neighbours, any::<bool>());
    (servers, name, sizes, times, threading, idle, ways).prop_map(
        |(servers, name, (inbox, outbox, socket, envelope, first), (interval, timeout), threading, idle, ways)| {
            let (connect, checksum, neighbours, raise_descriptor_limit) = ways;
            Config::new(servers)
                .unwrap()
                .with_cluster(name)
                .with_inbox_bytes(inbox)
                .with_outbox_bytes(outbox)
                .with_socket_bytes(socket)
                .with_max_envelope_bytes(envelope)
                .with_first_message_id(first)
                .with_heartbeat_interval_ms(interval)
                .with_peer_timeout_ms(timeout)
                .with_connect(connect)
                .with_checksum(checksum)
                .with_neighbours(neighbours)
                .with_raise_descriptor_limit(raise_descriptor_limit)
                .with_threading(threading)
                .with_idle(idle)
        },
    )
}

/// What a hand or a disk might put into a file.
fn mutation() -> impl Strategy<Value = String> {
    prop_oneof![
        "[{}\\[\\],:\"\\\\ 0-9.eE\n-]{0,3}",
        any::<char>().prop_map(String::from),
        prop::sample::select(vec![
            "\"Pid\"",
            "\"servers\"",
            "null",
            "-1",
            "1e999",
            "\\ud800",
            "99999999999999999999",
            "\u{feff}",
            "\0"
        ])
        .prop_map(str::to_owned),
    ]
}
