//! The configuration: every format, every refusal, and no input that does harm.

mod invalid;
mod random;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{fs, io};

use cluster::{BROADCAST, Catalog, Checksum, Config, Connect, Idle, Member, Neighbours, Pid, Threading};

#[test]
fn every_format_becomes_the_same_configuration() {
    let size = |envelopes: u64| envelopes * Config::ENVELOPE_BYTES;
    let local = |servers: &[(Pid, &str)]| Config::new(servers.iter().copied()).unwrap();
    let full = Config::new([(BROADCAST - 1, "[fe80::1%2]:65535"), (0, "server_1.example.org:8002")])
        .unwrap()
        .with_cluster("लेखा-1")
        .with_inbox_bytes(Config::MIN_INBOX_BYTES)
        .with_outbox_bytes(Config::MAX_BUFFER_BYTES)
        .with_socket_bytes(Config::MIN_SOCKET_BYTES)
        .with_max_envelope_bytes(1)
        .with_first_message_id(i64::MIN)
        .with_heartbeat_interval_ms(100)
        .with_peer_timeout_ms(200)
        .with_connect(Connect::Eager)
        .with_checksum(Checksum::Header)
        .with_neighbours(Neighbours::Tcp)
        .with_raise_descriptor_limit(false)
        .with_threading(Threading::Dedicated { shards: 2 })
        .with_idle(Idle { spin_us: 20, yield_us: 50, park: false });
    let expected = [
        (
            "concatenated-id-ip-ports.json",
            local(&[(0, "127.0.0.1:8081"), (1, "127.0.0.1:8082"), (2, "127.0.0.1:8083"), (3, "127.0.0.1:8084")]),
        ),
        (
            "concatenated-pid-addr.json",
            local(&[
                (1, "127.0.0.1:10001"),
                (3, "127.0.0.1:30501"),
                (11, "127.0.0.1:10011"),
                (1331, "127.0.0.1:11331"),
            ]),
        ),
        (
            "handle-and-port-range.json",
            local(&[(1, "127.0.0.1:5001"), (2, "127.0.0.1:5002")])
                .with_first_message_id(1000)
                .with_inbox_bytes(size(5000))
                .with_outbox_bytes(size(5000)),
        ),
        ("object-mypid-url.json", local(&[(1, "127.0.0.1:10001"), (2, "127.0.0.1:10002")])),
        (
            "peers-id-address.json",
            local(&[
                (1, "localhost:8001"),
                (2, "localhost:8002"),
                (3, "localhost:8003"),
                (4, "localhost:8004"),
                (5, "localhost:8005"),
            ])
            // 100 envelopes are less than the least size.
            .with_inbox_bytes(Config::MIN_INBOX_BYTES),
        ),
        (
            "servers-id-address.json",
            local(&[(100, "localhost:8001"), (200, "localhost:8002"), (300, "localhost:8003")])
                .with_inbox_bytes(size(1000))
                .with_outbox_bytes(size(1000)),
        ),
        ("native-minimal.json", local(&[(100, "127.0.0.1:8001")])),
        ("native-full.json", full),
        ("byte-order-mark-and-crlf.json", local(&[(1, "127.0.0.1:10001"), (2, "127.0.0.1:10002")])),
        ("objects-on-one-line.json", local(&[(1, "[::1]:10001"), (2, "localhost:10002")])),
        ("id-ip-ipv6.json", local(&[(1, "[::1]:8081"), (2, "[::1]:8082")])),
        ("handle-bare.json", local(&[(60535, "localhost:65535"), (2, "localhost:5002")])),
    ];
    for (file, config) in &expected {
        let loaded = Config::from_file(folder("valid").join(file)).unwrap();
        assert_eq!(loaded, *config, "{file}");
        assert_eq!(Config::parse(&loaded.to_json(), "again").unwrap(), *config, "{file}");
    }
    let listed: BTreeSet<_> = expected.iter().map(|(file, _)| file.to_string()).collect();
    assert_eq!(listed, files("valid"), "the table and the folder differ");
}

#[test]
fn the_native_format_looks_like_this() {
    let config =
        Config::new([(100, "127.0.0.1:8001"), (200, "tcp://127.0.0.1:8002")]).unwrap().with_cluster("say-\"hi\"");
    let expected = r#"{
  "cluster": "say-\"hi\"",
  "servers": [
    {"pid": 100, "address": "127.0.0.1:8001"},
    {"pid": 200, "address": "127.0.0.1:8002"}
  ],
  "inbox_bytes": 4194304,
  "outbox_bytes": 1048576,
  "socket_bytes": 524288,
  "max_envelope_bytes": 134217728,
  "first_message_id": "random",
  "heartbeat_interval_ms": 400,
  "peer_timeout_ms": 1250,
  "connect": "on_demand",
  "checksum": "payload",
  "neighbours": "memory",
  "raise_descriptor_limit": true,
  "threading": "shared",
  "driver": "auto",
  "idle": {"spin_us": 0, "yield_us": 50, "park": true}
}
"#;
    assert_eq!(config.to_json(), expected);
}

#[test]
fn a_configuration_made_by_a_program_is_checked_the_same_way() {
    let cases: [(&[(Pid, &str)], &str); 5] = [
        (&[], "configuration: there are no servers; add at least one, with its pid and its address"),
        (
            &[(7, "a:1"), (8, "b:1"), (7, "c:1")],
            "configuration: server 3 (pid 7): pid 7 is given twice (first as server 1); give each server a pid of its own",
        ),
        (
            &[(7, "Host:1"), (8, "tcp://hoST:1")],
            "configuration: server 2 (pid 8): address \"hoST:1\" is given twice (first as server 1); \
             give each server an address of its own",
        ),
        (
            &[(7, "a:1"), (BROADCAST, "b:1")],
            "configuration: server 2 (pid 18446744073709551615): pid 18446744073709551615 is reserved: \
             it means BROADCAST; use a number from 0 to 18446744073709551614",
        ),
        (&[(7, "a")], "configuration: server 1 (pid 7): \"a\" has no port; write host:port, for example \"a:8001\""),
    ];
    for (servers, message) in cases {
        let error = Config::new(servers.iter().copied()).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!((error.position(), error.excerpt()), (None, None));
    }
}

#[test]
fn settings_are_checked_by_name() {
    let config = || Config::new([(1, "a:1")]).unwrap();
    let wrong = [
        ("cluster", config().with_cluster("")),
        ("cluster", config().with_cluster("x".repeat(65))),
        ("cluster", config().with_cluster("zero\u{200b}width")),
        ("inbox_bytes", config().with_inbox_bytes(Config::MIN_INBOX_BYTES - 1)),
        ("inbox_bytes", config().with_inbox_bytes(u64::MAX)),
        ("outbox_bytes", config().with_outbox_bytes(Config::MIN_OUTBOX_BYTES - 1)),
        ("socket_bytes", config().with_socket_bytes(Config::MIN_SOCKET_BYTES - 1)),
        ("socket_bytes", config().with_socket_bytes(Config::MAX_SOCKET_BYTES + 1)),
        ("max_envelope_bytes", config().with_max_envelope_bytes(0)),
        ("max_envelope_bytes", config().with_max_envelope_bytes(Config::MAX_ENVELOPE_BYTES + 1)),
        ("heartbeat_interval_ms", config().with_heartbeat_interval_ms(0)),
        ("heartbeat_interval_ms", config().with_heartbeat_interval_ms(u64::MAX)),
        ("peer_timeout_ms", config().with_peer_timeout_ms(799)),
        ("peer_timeout_ms", config().with_peer_timeout_ms(u64::MAX)),
        ("threading.dedicated.shards", config().with_threading(Threading::Dedicated { shards: 0 })),
        ("threading.dedicated.shards", config().with_threading(Threading::Dedicated { shards: usize::MAX })),
        ("idle.spin_us", config().with_idle(Idle { spin_us: u64::MAX, ..Idle::default() })),
        ("idle.yield_us", config().with_idle(Idle { yield_us: u64::MAX, ..Idle::default() })),
    ];
    for (name, config) in wrong {
        assert_eq!(config.validate().unwrap_err().entry(), Some(name));
    }
    config().with_peer_timeout_ms(800).validate().unwrap();
    config().with_socket_bytes(0).validate().unwrap();
    config().with_cluster("e\u{301}té-日本\\\"'").validate().unwrap();
}

#[test]
fn a_pid_that_must_exist() {
    let config = Config::new((1..=13).map(|pid| (pid, format!("localhost:{}", 8000 + pid)))).unwrap();
    assert_eq!(config.require(13).unwrap(), &Member::new(13, "localhost:8013"));
    assert_eq!(
        config.require(99).unwrap_err().to_string(),
        "configuration: pid 99: no server has this pid; use one of the known pids: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 3 more"
    );
}

#[test]
fn a_catalog_lists_the_servers_by_pid() {
    let config = Config::new([(300, "c:1"), (100, "a:1"), (200, "b:1")]).unwrap();
    let mut catalog = Catalog::from(&config);
    assert_eq!(catalog.iter().map(|member| member.pid).collect::<Vec<_>>(), [100, 200, 300]);
    assert_eq!(catalog.insert(Member::new(200, "d:1")), Some(Member::new(200, "b:1")));
    assert_eq!(catalog.remove(100), Some(Member::new(100, "a:1")));
    assert_eq!((catalog.len(), catalog.contains(100), catalog.get(200).unwrap().address.as_str()), (2, false, "d:1"));
}

#[test]
fn files_that_cannot_be_read() -> io::Result<()> {
    let scratch = std::env::temp_dir().join(format!("cluster-config-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let large = scratch.join("large.json");
    // A hole: it has a length, and nothing in it.
    fs::File::create(&large)?.set_len((16 << 20) + 1)?;
    let expected = [
        (scratch.join("none.json"), "there is no such file"),
        (scratch.clone(), "this is a directory"),
        (large, "the configuration is larger than 16 MiB"),
        (PathBuf::from("/dev/zero"), "the configuration is larger than 16 MiB"),
    ];
    for (path, cause) in expected {
        let error = Config::from_file(&path).unwrap_err();
        assert_eq!((error.cause(), error.position()), (cause, None), "{}", path.display());
        assert!(error.to_string().starts_with(&format!("{}: {cause}; ", path.display())), "{error}");
    }
    fs::remove_dir_all(&scratch)
}

#[test]
fn errors_show_the_line() {
    let error = Config::from_file(folder("invalid").join("missing-comma-and-quotes.json")).unwrap_err();
    assert_eq!(error.position(), Some((4, 10)));
    let excerpt = "4 |          {\"Id\":300,  \"Address\":\"localhost:8003\"}\n  |          ^";
    assert_eq!(error.excerpt().as_deref(), Some(excerpt));

    // Of a long line, what is near.
    let text = format!("{}x{}", " ".repeat(5000), " ".repeat(5000));
    let excerpt = Config::parse(&text, "long").unwrap_err().excerpt().unwrap();
    let (line, caret) = excerpt.split_once('\n').unwrap();
    assert_eq!(line.find('x'), caret.find('^'));
    assert!(excerpt.len() < 300);
}

#[test]
fn many_servers_load() {
    let servers: Vec<_> = (0..20_000).map(|pid: Pid| (pid, format!("host-{pid}:8001"))).collect();
    let config = Config::new(servers).unwrap();
    assert_eq!(Config::parse(&config.to_json(), "many").unwrap(), config);
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/configs").join(name)
}

fn files(name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder(name)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
