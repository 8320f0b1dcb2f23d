//! The configuration: the servers, their addresses, and the settings of the engine.
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
//! A file becomes a [`Config`] in four steps: `file` reads the bytes, `json` makes values with their positions,
//! `formats` detects the format and fills in a draft through `fields`, and `rules` checks every configuration, from a
//! file or not.

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
pub use choices::{Checksum, Connect, Driver, Idle, Neighbours, Threading};
pub use error::ConfigError;
pub use settings::{Config, Member};
