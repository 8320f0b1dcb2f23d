//! What is wrong with a configuration.

use std::fmt;

/// What is wrong with a configuration: where, why, and what would be right.
///
/// Shown, it is one line that editors can jump to; [`excerpt`](ConfigError::excerpt) adds the line of the file.
///
/// ```
/// use cluster::Config;
///
/// let text = r#"{"Peers": [{"Id": 1, "Adress": "localhost:8001"}]}"#;
/// let error = Config::parse(text, "cluster.json").unwrap_err();
/// assert_eq!(error.position(), Some((1, 22)));
/// assert_eq!(
///     error.to_string(),
///     r#"cluster.json:1:22: "Adress" is not a key of a server; did you mean "Address"?"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    // Boxed, so that a `Result` of it stays as small as what it carries when all is well.
    details: Box<Details>,
}

/// What an error knows, for the modules that make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Details {
    pub name: String,
    pub position: Option<(usize, usize)>,
    pub entry: Option<String>,
    pub cause: String,
    pub cure: String,
    pub excerpt: Option<String>,
}

impl ConfigError {
    /// What the configuration is called: the file's path, the name given to [`Config::parse`](crate::Config::parse), or
    /// `configuration` for one that a program made.
    ///
    /// ```
    /// let error = cluster::Config::parse("", "cluster.json").unwrap_err();
    /// assert_eq!(error.name(), "cluster.json");
    /// ```
    pub fn name(&self) -> &str {
        &self.details.name
    }

    /// Line and column of what is wrong, both from 1, columns in characters. `None` where there is no text to point into.
    ///
    /// ```
    /// let error = cluster::Config::parse("{\n  servers: []}", "cluster.json").unwrap_err();
    /// assert_eq!(error.position(), Some((2, 3)));
    /// ```
    pub fn position(&self) -> Option<(usize, usize)> {
        self.details.position
    }

    /// The server or the setting that is wrong, where there is no text to point into.
    ///
    /// ```
    /// let error = cluster::Config::new([(7, "localhost")]).unwrap_err();
    /// assert_eq!(error.entry(), Some("server 1 (pid 7)"));
    /// ```
    pub fn entry(&self) -> Option<&str> {
        self.details.entry.as_deref()
    }

    /// What is wrong.
    ///
    /// ```
    /// let error = cluster::Config::new([(7, "localhost")]).unwrap_err();
    /// assert_eq!(error.cause(), r#""localhost" has no port"#);
    /// ```
    pub fn cause(&self) -> &str {
        &self.details.cause
    }

    /// What would be right.
    ///
    /// ```
    /// let error = cluster::Config::new([(7, "localhost")]).unwrap_err();
    /// assert_eq!(error.cure(), r#"write host:port, for example "localhost:8001""#);
    /// ```
    pub fn cure(&self) -> &str {
        &self.details.cure
    }

    /// The line that is wrong with a caret under the place, where there is a text to show.
    ///
    /// ```
    /// let error = cluster::Config::parse("{\n  servers: []}", "cluster.json").unwrap_err();
    /// assert_eq!(error.excerpt().unwrap(), "2 |   servers: []}\n  |   ^");
    /// ```
    pub fn excerpt(&self) -> Option<String> {
        self.details.excerpt.clone()
    }
}

impl From<Details> for ConfigError {
    fn from(details: Details) -> ConfigError {
        ConfigError { details: Box::new(details) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = &*self.details;
        write!(f, "{}:", details.name)?;
        if let Some((line, column)) = details.position {
            write!(f, "{line}:{column}:")?;
        } else if let Some(entry) = &details.entry {
            write!(f, " {entry}:")?;
        }
        write!(f, " {}; {}", details.cause, details.cure)
    }
}

impl std::error::Error for ConfigError {}
