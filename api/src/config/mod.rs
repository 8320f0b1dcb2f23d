//! The configuration: which servers there are, where they listen, and how the engine behaves.
//!
//! [`Config::from_file`] reads seven formats, [`Config::to_json`] writes the native one.
//!
//! ```
//! use cluster::Config;
//!
//! let text = r#"{"Peers": [{"Id": 1, "Address": "localhost:8001"}, {"Id": 2, "Address": "localhost:8002"}]}"#;
//! let config = Config::parse(text, "cluster.json")?;
//! assert_eq!(config.address_of(2), Some("localhost:8002"));
//! # Ok::<(), cluster::ConfigError>(())
//! ```
//!
//! How a file becomes a [`Config`]: `file` reads the bytes, `json` makes values that know where they stand, `formats` finds
//! the format and fills in a draft through `fields`, and `rules` checks what holds for every configuration, however it was made.

mod address;
mod catalog;
mod choices;
mod error;
mod fields;
mod file;
mod formats;
mod json;
mod rules;
mod settings;
mod source;
mod suggest;
#[cfg(test)]
mod tests;

pub use catalog::Catalog;
pub use choices::{Checksum, Connect, Idle, Neighbours, Threading};
pub use error::ConfigError;
pub use settings::{Config, Member};
