//! Typed messages: values that `serde` or `zerocopy` can encode.

use std::fmt;

use cluster_engine::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Draft, Envelope, EnvelopeRef};

impl<'a> Draft<'a> {
    /// Encodes a `serde` value as the message, in the postcard format.
    ///
    /// # Errors
    /// [`DecodeError`] if the value's own `Serialize` fails.
    ///
    /// ```
    /// use cluster::Envelope;
    ///
    /// let vote = Envelope::to(200).value(&("vote", 7u64))?;
    /// # Ok::<(), cluster::DecodeError>(())
    /// ```
    pub fn value<T: Serialize + ?Sized>(self, value: &T) -> Result<Draft<'static>, DecodeError> {
        let bytes = postcard::to_stdvec(value).map_err(|error| DecodeError { pid: None, cause: error.to_string() })?;
        Ok(self.body(bytes))
    }

    /// Sets the message to the bytes of a `zerocopy` value. The value is borrowed until the envelope is sent.
    pub fn bytes_of<'b, T: IntoBytes + Immutable + ?Sized>(self, value: &'b T) -> Draft<'b> {
        self.body(value.as_bytes())
    }
}

impl Envelope {
    /// Decodes the message as a `serde` value, from the postcard format.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a value of this type. The error names the sender.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        decode(self.pid, &self.msg)
    }

    /// Views the message as a `zerocopy` value, in place.
    ///
    /// # Errors
    /// [`DecodeError`] if the length or the alignment does not fit the type. The error names the sender.
    pub fn view<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<&T, DecodeError> {
        view(self.pid, &self.msg)
    }
}

impl<'a> EnvelopeRef<'a> {
    /// Decodes the message as a `serde` value, from the postcard format. The value may borrow from the message.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a value of this type. The error names the sender.
    pub fn value<T: serde::Deserialize<'a>>(&self) -> Result<T, DecodeError> {
        postcard::from_bytes(self.msg).map_err(|error| DecodeError { pid: Some(self.pid), cause: error.to_string() })
    }

    /// Views the message as a `zerocopy` value, in place.
    ///
    /// # Errors
    /// [`DecodeError`] if the length or the alignment does not fit the type. The error names the sender.
    pub fn view<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<&'a T, DecodeError> {
        view(self.pid, self.msg)
    }
}

fn decode<T: DeserializeOwned>(pid: Pid, bytes: &[u8]) -> Result<T, DecodeError> {
    postcard::from_bytes(bytes).map_err(|error| DecodeError { pid: Some(pid), cause: error.to_string() })
}

fn view<T: FromBytes + KnownLayout + Immutable>(pid: Pid, bytes: &[u8]) -> Result<&T, DecodeError> {
    T::ref_from_bytes(bytes).map_err(|error| {
        let name = std::any::type_name::<T>();
        let cause = match error {
            zerocopy::CastError::Size(_) => format!("{name} takes {} bytes, there are {}", size_of::<T>(), bytes.len()),
            _ => format!("{name} needs an alignment of {}, which these bytes do not have", align_of::<T>()),
        };
        DecodeError { pid: Some(pid), cause }
    })
}

/// Error of encoding a value, or of decoding a message as a value of another type than it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    pid: Option<Pid>,
    cause: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(
                f,
                "the message from {pid} is not such a value: {}; do both sides use the same type?",
                self.cause
            ),
            None => write!(f, "the value cannot be encoded: {}", self.cause),
        }
    }
}

impl std::error::Error for DecodeError {}
