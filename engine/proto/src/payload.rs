//! Contents of a message: [`Body`] on its way into an outbox, [`Payload`] on its way out of an inbox.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZero;
use std::ops::Deref;

use bytes::Bytes;
use zerocopy::IntoBytes;

/// Bytes of a message that has arrived.
///
/// Up to [`Payload::INLINE_BYTES`] are stored in the value itself; more are shared [`Bytes`]. A received payload is
/// aligned to 8 bytes in both cases.
///
/// [`Bytes`]: https://docs.rs/bytes/1/bytes/struct.Bytes.html
///
/// ```
/// # use cluster_proto::payload::Payload;
/// let payload = Payload::copy_from_slice(b"a vote");
/// assert_eq!(payload, b"a vote");
/// assert_eq!(payload.len(), 6);
/// ```
#[derive(Clone)]
pub struct Payload(Repr);

#[derive(Clone)]
enum Repr {
    Inline { length: Length, words: Words },
    Shared(Bytes),
}

/// Inline bytes as words, so that a `zerocopy` type can be read in place and a move copies words.
type Words = [u64; Payload::INLINE_BYTES / 8];

/// Length in bytes, plus one. The unused value 0 marks [`Repr::Shared`], so the enum needs no tag of its own.
#[derive(Clone, Copy)]
struct Length(NonZero<u64>);

const _: () = assert!(size_of::<Payload>() == 8 + Payload::INLINE_BYTES);

impl Payload {
    /// Largest number of bytes that need neither an allocation nor a reference count.
    ///
    /// An allocation, its release and two reference counts took about 45 ns per message; a move of this many bytes
    /// takes one or two.
    pub const INLINE_BYTES: usize = 64;

    /// Makes an empty payload.
    pub const fn new() -> Payload {
        Payload(Repr::Shared(Bytes::new()))
    }

    /// Copies `bytes`.
    #[inline]
    pub fn copy_from_slice(bytes: &[u8]) -> Payload {
        if bytes.len() > Payload::INLINE_BYTES {
            return Payload(Repr::Shared(Bytes::copy_from_slice(bytes)));
        }
        let mut words = [0; _];
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        Payload(Repr::Inline { length: Length(NonZero::<u64>::MIN.saturating_add(bytes.len() as u64)), words })
    }

    /// Makes a payload of the first `length` bytes. Returns `None` if `length` is more than [`Payload::INLINE_BYTES`].
    /// All of `bytes` are copied, because a fixed length takes fewer instructions.
    #[inline(always)]
    pub fn copy_from(bytes: &[u8; Payload::INLINE_BYTES], length: usize) -> Option<Payload> {
        if length > Payload::INLINE_BYTES {
            return None;
        }
        let length = Length(NonZero::<u64>::MIN.saturating_add(length as u64));
        Some(Payload(Repr::Inline { length, words: zerocopy::transmute!(*bytes) }))
    }

    /// Converts the payload to [`Bytes`]. Inline bytes are copied.
    ///
    /// [`Bytes`]: https://docs.rs/bytes/1/bytes/struct.Bytes.html
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Inline { .. } => Bytes::copy_from_slice(&self),
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::new()
    }
}

impl Deref for Payload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { length, words } => &words.as_bytes()[..length.0.get() as usize - 1],
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

impl Hash for Payload {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl PartialEq<[u8]> for Payload {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl PartialEq<&[u8]> for Payload {
    fn eq(&self, other: &&[u8]) -> bool {
        **self == **other
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Payload {
    fn eq(&self, other: &[u8; N]) -> bool {
        **self == *other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Payload {
    fn eq(&self, other: &&[u8; N]) -> bool {
        **self == **other
    }
}

impl PartialEq<str> for Payload {
    fn eq(&self, other: &str) -> bool {
        **self == *other.as_bytes()
    }
}

impl PartialEq<&str> for Payload {
    fn eq(&self, other: &&str) -> bool {
        **self == *other.as_bytes()
    }
}

impl PartialEq<Vec<u8>> for Payload {
    fn eq(&self, other: &Vec<u8>) -> bool {
        **self == **other
    }
}

impl PartialEq<Bytes> for Payload {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

impl From<&[u8]> for Payload {
    #[inline]
    fn from(bytes: &[u8]) -> Payload {
        Payload::copy_from_slice(bytes)
    }
}

impl From<Bytes> for Payload {
    /// Takes the bytes over without a copy.
    #[inline]
    fn from(bytes: Bytes) -> Payload {
        Payload(Repr::Shared(bytes))
    }
}

impl From<Vec<u8>> for Payload {
    /// Takes the bytes over without a copy.
    fn from(bytes: Vec<u8>) -> Payload {
        Payload::from(Bytes::from(bytes))
    }
}

impl From<Payload> for Bytes {
    fn from(payload: Payload) -> Bytes {
        payload.into_bytes()
    }
}

impl From<Payload> for Vec<u8> {
    fn from(payload: Payload) -> Vec<u8> {
        match payload.0 {
            Repr::Inline { .. } => payload.to_vec(),
            Repr::Shared(bytes) => bytes.into(),
        }
    }
}

/// Contents of a message to be sent: bytes that are borrowed until then, or owned.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// Borrowed bytes, which are copied when the message is sent.
    Borrowed(&'a [u8]),
    /// Owned bytes. Long ones are sent by reference, without a copy.
    Owned(Bytes),
}

impl Body<'_> {
    /// Converts to owned bytes. Borrowed bytes are copied.
    pub fn into_owned(self) -> Body<'static> {
        Body::Owned(match self {
            Body::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Body::Owned(bytes) => bytes,
        })
    }
}

impl Default for Body<'_> {
    #[inline]
    fn default() -> Self {
        Body::Borrowed(&[])
    }
}

impl Deref for Body<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Body::Borrowed(bytes) => bytes,
            Body::Owned(bytes) => bytes,
        }
    }
}

impl PartialEq for Body<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Body<'_> {}

impl<'a> From<&'a [u8]> for Body<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Body<'a> {
        Body::Borrowed(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Body<'a> {
    #[inline]
    fn from(bytes: &'a [u8; N]) -> Body<'a> {
        Body::Borrowed(bytes)
    }
}

impl<'a> From<&'a str> for Body<'a> {
    #[inline]
    fn from(text: &'a str) -> Body<'a> {
        Body::Borrowed(text.as_bytes())
    }
}

impl<'a> From<&'a Vec<u8>> for Body<'a> {
    #[inline]
    fn from(bytes: &'a Vec<u8>) -> Body<'a> {
        Body::Borrowed(bytes)
    }
}

impl<'a> From<&'a String> for Body<'a> {
    #[inline]
    fn from(text: &'a String) -> Body<'a> {
        Body::Borrowed(text.as_bytes())
    }
}

impl<'a> From<&'a Payload> for Body<'a> {
    #[inline]
    fn from(payload: &'a Payload) -> Body<'a> {
        match &payload.0 {
            Repr::Inline { .. } => Body::Borrowed(payload),
            Repr::Shared(bytes) => Body::Owned(bytes.clone()),
        }
    }
}

impl From<Payload> for Body<'_> {
    fn from(payload: Payload) -> Self {
        Body::Owned(payload.into_bytes())
    }
}

impl From<Bytes> for Body<'_> {
    #[inline]
    fn from(bytes: Bytes) -> Self {
        Body::Owned(bytes)
    }
}

impl<'a> From<&'a Bytes> for Body<'a> {
    #[inline]
    fn from(bytes: &'a Bytes) -> Body<'a> {
        Body::Owned(bytes.clone())
    }
}

impl From<Vec<u8>> for Body<'_> {
    #[inline]
    fn from(bytes: Vec<u8>) -> Self {
        Body::Owned(bytes.into())
    }
}

impl From<String> for Body<'_> {
    #[inline]
    fn from(text: String) -> Self {
        Body::Owned(text.into())
    }
}

impl From<Box<[u8]>> for Body<'_> {
    #[inline]
    fn from(bytes: Box<[u8]>) -> Self {
        Body::Owned(bytes.into())
    }
}

impl<const N: usize> From<[u8; N]> for Body<'_> {
    #[inline]
    fn from(bytes: [u8; N]) -> Self {
        Body::Owned(Bytes::copy_from_slice(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_around_the_limit_keeps_its_bytes_and_its_alignment() {
        for length in 0..=2 * Payload::INLINE_BYTES {
            let bytes: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let copied = Payload::copy_from_slice(&bytes);
            let taken = Payload::from(bytes.clone());
            assert_eq!(copied, taken, "{length} bytes");
            assert_eq!(copied, bytes);
            assert_eq!(copied.as_ptr().align_offset(8), 0);
            assert_eq!(copied.clone().into_bytes(), bytes);
            assert_eq!(Vec::from(copied), bytes);
        }
    }

    #[test]
    fn the_beginning_of_more_bytes_is_as_good_as_those_bytes() {
        let bytes: [u8; Payload::INLINE_BYTES] = std::array::from_fn(|byte| byte as u8);
        for length in 0..=Payload::INLINE_BYTES {
            assert_eq!(Payload::copy_from(&bytes, length).unwrap(), bytes[..length]);
        }
        assert_eq!(Payload::copy_from(&bytes, Payload::INLINE_BYTES + 1), None);
    }

    #[test]
    fn what_is_taken_as_it_is_stays_where_it_was() {
        let bytes = Bytes::from(vec![7; 3]);
        let place = bytes.as_ptr();
        assert_eq!(Payload::from(bytes.clone()).as_ptr(), place);
        assert_eq!(Payload::from(bytes).into_bytes().as_ptr(), place);
    }

    #[test]
    fn it_is_shown_as_a_byte_string() {
        assert_eq!(format!("{:?}", Payload::copy_from_slice(b"a\n\"b")), r#"b"a\n\"b""#);
    }
}
