//! Errors of a configuration.

use std::fmt;

/// Error in a configuration: its place, its cause, and its cure.
///
/// Its text is one line that editors can jump to; [`excerpt`](ConfigError::excerpt) returns the faulty line of the
/// file.
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
    // The box keeps a `Result` of this error as small as its value.
    details: Box<Details>,
}

/// Details of an error, for the modules that make one.
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
    /// Name of the configuration: the file's path, the name given to [`Config::parse`](crate::Config::parse), or
    /// `configuration` for one that a program made.
    ///
    /// ```
    /// let error = cluster::Config::parse("", "cluster.json").unwrap_err();
    /// assert_eq!(error.name(), "cluster.json");
    /// ```
    pub fn name(&self) -> &str {
        &self.details.name
    }

    /// Line and column of the error, both from 1, columns in characters. `None` if there is no text.
    ///
    /// ```
    /// let error = cluster::Config::parse("{\n  servers: []}", "cluster.json").unwrap_err();
    /// assert_eq!(error.position(), Some((2, 3)));
    /// ```
    pub fn position(&self) -> Option<(usize, usize)> {
        self.details.position
    }

    /// Server or setting that is wrong, in a configuration without text.
    ///
    /// ```
    /// let error = cluster::Config::new([(7, "localhost")]).unwrap_err();
    /// assert_eq!(error.entry(), Some("server 1 (pid 7)"));
    /// ```
    pub fn entry(&self) -> Option<&str> {
        self.details.entry.as_deref()
    }

    /// Cause of the error.
    ///
    /// ```
    /// let error = cluster::Config::new([(7, "localhost")]).unwrap_err();
    /// assert_eq!(error.cause(), r#""localhost" has no port"#);
    /// ```
    pub fn cause(&self) -> &str {
        &self.details.cause
    }

    /// Cure: a correct value or action.
    ///
    /// ```
    /// let error = cluster::Config::new([(7, "localhost")]).unwrap_err();
    /// assert_eq!(error.cure(), r#"write host:port, for example "localhost:8001""#);
    /// ```
    pub fn cure(&self) -> &str {
        &self.details.cure
    }

    /// Faulty line with a caret under the place of the error. `None` if there is no text.
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
