//! Target for configuration files of every format.

use cluster::Config;

use crate::allocations::within;

/// Parses a text as a configuration.
///
/// An accepted configuration is complete, and equal when written in the native format and read again. A refused one
/// gives an error that names a place in the text. Neither takes more memory than a multiple of the text.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match within(64 * 1024 + 256 * text.len(), || Config::parse(&text, "fuzz.json")) {
        Ok(config) => {
            assert!(!config.servers.is_empty());
            assert_eq!(config.validate(), Ok(()));
            for member in &config.servers {
                assert_eq!(config.address_of(member.pid), Some(&member.address[..]));
            }
            let written = config.to_json();
            assert_eq!(Config::parse(&written, "written.json").as_ref(), Ok(&config), "{written}");
        }
        Err(error) => {
            assert!(!error.cause().is_empty() && !error.cure().is_empty());
            let said = error.to_string();
            if let Some((line, column)) = error.position() {
                assert!(said.starts_with(&format!("fuzz.json:{line}:{column}: ")), "{said}");
                assert!(line <= text.lines().count() + 1 && column <= text.len() + 1, "{said}");
            }
            let _ = error.excerpt();
        }
    }
}
