//! Reading configuration files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::ConfigError;
use super::formats;
use super::settings::Config;
use super::source::{Fault, Source};

impl Config {
    /// Loads a configuration from a file. The keys in the file determine its format:
    ///
    /// | keys | sizes | notes |
    /// | --- | --- | --- |
    /// | `servers` of `pid`, `address` | bytes | native; everything but `servers` may be left out |
    /// | `Peers` of `Id`, `Address` | `InboxSize`, `OutboxSize` in envelopes | |
    /// | `Servers` of `Id`, `Address` | `InboxSize`, `OutboxSize` in envelopes | |
    /// | `object` of `total` and `Servers` of `mypid`, `url` | | `total` is the number of servers |
    /// | `Pid`, `Addr` | | one object for each server, one after another |
    /// | `ID`, `IP`, `Port1`, `Port2` | | one object for each server; values in quotes; `Port2` is not used |
    /// | `peersPid`, `peersHandle`, `startAddress` | `bufSize` in envelopes | a peer listens on port `startAddress` + pid |
    ///
    /// In sizes that count envelopes, one envelope stands for [`Config::ENVELOPE_BYTES`], and 0 for the default. An
    /// address is `host:port`; a `tcp://` before it is removed.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read, is larger than 16 MiB, or is not a valid configuration. The error
    /// names the place, the cause and the cure.
    ///
    /// ```
    /// use cluster::Config;
    ///
    /// let file = format!("cluster-doc-{}.json", std::process::id());
    /// let path = std::env::temp_dir().join(file);
    /// let servers = r#"{"Pid": 1, "Addr": "127.0.0.1:10001"} {"Pid": 3, "Addr": "127.0.0.1:30501"}"#;
    /// std::fs::write(&path, servers)?;
    /// let config = Config::from_file(&path)?;
    /// assert_eq!(config.address_of(3), Some("127.0.0.1:30501"));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Config, ConfigError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = read(path).map_err(|fault| fault.in_program(&name))?;
        parse_bytes(&bytes, &name)
    }

    /// Parses a configuration from a text, in any format that [`from_file`](Config::from_file) knows. Errors call the
    /// text `name`.
    ///
    /// # Errors
    /// [`ConfigError`] if the text is larger than 16 MiB or is not a valid configuration.
    ///
    /// ```
    /// use cluster::Config;
    ///
    /// let text = r#"{"Pid": 1, "Addr": "127.0.0.1"}"#;
    /// let error = Config::parse(text, "cluster.json").unwrap_err();
    /// let expected = r#"cluster.json:1:20: "127.0.0.1" has no port; "#;
    /// assert!(error.to_string().starts_with(expected));
    /// ```
    pub fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
        if text.len() > MAX_BYTES {
            return Err(too_large().in_program(name));
        }
        let source = Source { name, text };
        formats::load(&source).map_err(|fault| fault.in_text(&source))
    }
}

/// Parses a configuration from the bytes of a file.
pub(super) fn parse_bytes(bytes: &[u8], name: &str) -> Result<Config, ConfigError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Config::parse(text, name),
        Err(error) => {
            let valid = error.valid_up_to();
            let text = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
            let byte = bytes.get(valid).copied().unwrap_or_default();
            let fault = Fault::at(valid, format!("the byte 0x{byte:02x} is not UTF-8"), "save the file as UTF-8");
            Err(fault.in_text(&Source { name, text }))
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if metadata.is_dir() {
        return Err(Fault::whole("this is a directory", "name a file in it"));
    }
    if metadata.is_file() && metadata.len() > MAX_BYTES as u64 {
        return Err(too_large());
    }
    // The size of a pipe, or of a file that grows, is not known in advance.
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() > MAX_BYTES { Err(too_large()) } else { Ok(bytes) }
}

fn unreadable(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::whole(
            "there is no such file",
            "check the path, which begins at the current directory unless it begins with /",
        ),
        io::ErrorKind::PermissionDenied => {
            Fault::whole("reading the file is not permitted", "let the user who runs this program read it")
        }
        io::ErrorKind::IsADirectory => Fault::whole("this is a directory", "name a file in it"),
        _ => Fault::whole(format!("the file cannot be read: {error}"), "check that the path names a file"),
    }
}

fn too_large() -> Fault {
    Fault::whole(
        "the configuration is larger than 16 MiB",
        "check that this is the right file: a server takes about 50 bytes",
    )
}

const MAX_BYTES: usize = 16 << 20;
