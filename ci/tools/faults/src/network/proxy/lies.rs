//! Telling of a lie: one segment becomes another one, or two.

use cluster_engine::wire::{
    CHECKSUMMED, FIRST, FRAGMENT, FRAME_HEADER_BYTES, Frames, GoodbyeReason, Grant, Hello, Kind, LARGEST_POSITION,
    LAST, MAX_SEGMENT_PAYLOAD, NO_STREAM, Receiving, SEGMENT_HEADER_BYTES, SegmentHeader, Sending, decode_grants,
    encode_goodbye, encode_grants, encode_skip, frame_bytes,
};
use fastrand::Rng;
use zerocopy::{FromBytes, IntoBytes};

use crate::journal::Lost;
use crate::payload;
use crate::plan::Lie;

/// Lie that was told, and the messages that are lost with it.
#[derive(Debug, Default)]
pub struct Told {
    /// Bytes that are sent in the place of the segment.
    pub bytes: Vec<u8>,
    /// Bytes of frames that will not be read.
    pub lost_bytes: u64,
    /// Messages in those frames.
    pub lost: Vec<Lost>,
}

/// Tells a lie in the place of a segment; `None` if it cannot be told there.
pub fn tell(lie: Lie, segment: &[u8], random: &mut Rng) -> Option<Told> {
    let mut header = *SegmentHeader::parse(segment).ok()??;
    let payload = segment.get(SEGMENT_HEADER_BYTES..header.segment_bytes())?;
    let kind = header.kind();
    let is_of_session = !matches!(kind, Kind::Hello | Kind::Welcome | Kind::Refuse | Kind::Confirm);
    let is_whole = kind == Kind::Data && !header.has(FRAGMENT);
    let bytes = match lie {
        Lie::AckAboveSent | Lie::AckInsideFrame if is_of_session => acknowledge(lie, header, payload, random)?,
        Lie::Position if kind == Kind::Data => {
            let position = header.position.get();
            let others = [position + 8, position.saturating_sub(8), 0, LARGEST_POSITION, 8 * random.u64(..1 << 40)];
            let other = others[random.usize(..others.len())];
            if other == position {
                return None;
            }
            header.position = other.into();
            sealed(header, payload)
        }
        Lie::Skip if is_whole => {
            let mut skip = SegmentHeader::new(Kind::Skip);
            skip.stream = header.stream;
            let next = header.position.get() + payload.len() as u64;
            skip.position = next.into();
            [segment, &sealed(skip, &encode_skip(next + 8 * random.u64(1 << 32..1 << 40)))].concat()
        }
        Lie::SegmentKind if is_of_session => {
            // The last four kinds exist, and have no place in a session.
            let kinds = [0, 11, 255, 1, 2, 3, 10];
            with_byte(&header, 3, kinds[random.usize(..kinds.len())], payload)?
        }
        Lie::SegmentFlag if is_of_session => {
            header.flags = (header.flags.get() | 1 << random.u64(5..16)).into();
            sealed(header, payload)
        }
        Lie::Version if is_of_session => with_byte(&header, 2, [0, 1, 3, 255][random.usize(..4)], payload)?,
        Lie::Length if is_of_session => {
            let lengths = [MAX_SEGMENT_PAYLOAD as u32 + 8, header.length.get() + 4, u32::MAX, 1 << 31];
            with_length(header, lengths[random.usize(..lengths.len())], payload)
        }
        Lie::Frame if is_whole => return overrun(header, payload, random),
        Lie::Fragment if kind == Kind::Data => {
            // A whole segment becomes the middle of a frame; a fragment begins or ends where it does not.
            let change = if header.has(FRAGMENT) { [FIRST, LAST][random.usize(..2)] } else { FRAGMENT };
            header.flags = (header.flags.get() ^ change).into();
            sealed(header, payload)
        }
        Lie::FragmentLength if kind == Kind::Data && header.has(FIRST) => {
            let mut payload = payload.to_vec();
            let length = u32::from_le_bytes(*payload.first_chunk()?);
            // Longer and shorter by more than 8 bytes: padding would hide less.
            let other = if random.bool() { length + 8 + random.u32(..100_000) } else { length / 2 };
            payload[..4].copy_from_slice(&other.to_le_bytes());
            sealed(header, &payload)
        }
        Lie::Goodbye if is_of_session => {
            let reasons = [GoodbyeReason::Stopped, GoodbyeReason::Removed, GoodbyeReason::Violation];
            let mut said = encode_goodbye(reasons[random.usize(..3)]);
            if random.u64(..4) == 0 {
                said = random.u64(4..u64::MAX).to_le_bytes();
            }
            [segment, &sealed(checksummed(Kind::Goodbye), &said)].concat()
        }
        Lie::Confirm if kind == Kind::Confirm => sealed(header, &(random.u64(..) | 1).to_le_bytes()),
        _ if lie.is_of_handshake() && matches!(kind, Kind::Hello | Kind::Welcome) => {
            let mut greeting = Hello::decode(payload).ok()?;
            greet(lie, kind, &mut greeting, random)?;
            sealed(header, &greeting.encode())
        }
        _ => return None,
    };
    Some(Told { bytes, ..Told::default() })
}

/// Raises the acknowledgement in the header, or one of the grants.
fn acknowledge(lie: Lie, mut header: SegmentHeader, payload: &[u8], random: &mut Rng) -> Option<Vec<u8>> {
    // Frames here take at least 56 bytes, so that no other frame ends 8 bytes behind the end of one.
    let more = if lie == Lie::AckInsideFrame { 8 } else { 8 * random.u64(1 << 32..1 << 40) };
    if header.ack_stream.get() != NO_STREAM {
        header.ack_position = (header.ack_position.get() + more).into();
        return Some(sealed(header, payload));
    }
    if header.kind() != Kind::Ack {
        return None;
    }
    let mut grants: Vec<Grant> = decode_grants(payload)?.to_vec();
    let grant = grants.iter_mut().find(|grant| grant.stream.get() != NO_STREAM)?;
    grant.position = (grant.position.get() + more).into();
    Some(sealed(header, &encode_grants(&grants)))
}

/// Makes one frame overrun its segment, or sets one of its flags.
fn overrun(header: SegmentHeader, payload: &[u8], random: &mut Rng) -> Option<Told> {
    let frames: Vec<_> = Frames::new(payload).collect::<Result<_, _>>().ok()?;
    let broken = random.choice(0..frames.len())?;
    let at: usize = frames[..broken].iter().map(|frame| frame_bytes(frame.payload.len())).sum();
    let mut altered = payload.to_vec();
    let head = altered.get_mut(at..at + FRAME_HEADER_BYTES)?;
    if random.u64(..3) == 0 {
        head[4] = 1 << random.u64(..8);
    } else {
        let rest = (payload.len() - at - FRAME_HEADER_BYTES) as u64;
        let length = rest + random.u64(1..1 << 24);
        head[..4].copy_from_slice(&(length as u32).to_le_bytes());
    }
    let lost = frames[broken..].iter().filter_map(|frame| payload::read(frame.payload)).map(|message| Lost {
        pid: message.pid,
        run: message.run,
        stream: message.stream.code(),
        sequence: message.sequence,
    });
    let lost = lost.collect();
    Some(Told { bytes: sealed(header, &altered), lost_bytes: (payload.len() - at) as u64, lost })
}

/// Changes a greeting into a false one.
fn greet(lie: Lie, kind: Kind, greeting: &mut Hello, random: &mut Rng) -> Option<()> {
    let ahead = 8 * random.u64(1 << 32..1 << 40);
    match lie {
        Lie::SendingAhead if !greeting.sending.is_empty() => {
            let index = random.usize(..greeting.sending.len());
            let Sending { stream, position, .. } = greeting.sending[index];
            greeting.sending[index] = Sending::new(stream.get(), position.get() + ahead);
        }
        Lie::ReceivingAhead if !greeting.receiving.is_empty() => {
            let index = random.usize(..greeting.receiving.len());
            let Receiving { stream, position, .. } = greeting.receiving[index];
            greeting.receiving[index] = Receiving::new(stream.get(), position.get() + ahead);
        }
        Lie::KnownIncarnation if greeting.known_incarnation != [0; 16] => {
            greeting.known_incarnation =
                if random.u64(..3) == 0 { [0; 16] } else { u128::from(random.u64(..) | 1).to_le_bytes() };
        }
        Lie::Challenge if kind == Kind::Welcome => greeting.challenge ^= random.u64(..) | 1,
        _ => return None,
    }
    Some(())
}

fn checksummed(kind: Kind) -> SegmentHeader {
    let mut header = SegmentHeader::new(kind);
    header.flags = CHECKSUMMED.into();
    header
}

fn sealed(mut header: SegmentHeader, payload: &[u8]) -> Vec<u8> {
    header.seal(&[payload]);
    [header.as_bytes(), payload].concat()
}

/// Returns the segment with another byte in its header.
fn with_byte(header: &SegmentHeader, at: usize, byte: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let mut bytes: [u8; SEGMENT_HEADER_BYTES] = header.as_bytes().try_into().ok()?;
    bytes[at] = byte;
    Some(sealed(SegmentHeader::read_from_bytes(&bytes).ok()?, payload))
}

/// Returns the segment with another length, and a checksum of its header alone.
fn with_length(mut header: SegmentHeader, length: u32, payload: &[u8]) -> Vec<u8> {
    header.length = length.into();
    header.flags = (header.flags.get() & !CHECKSUMMED).into();
    let mut bytes = header.as_bytes().to_vec();
    let checksum = crc32c(bytes[..12].iter().chain(&bytes[16..]));
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    [&bytes, payload].concat()
}

/// Returns the CRC-32C of `bytes`. The wire types do not seal a length that no payload has.
fn crc32c<'b>(bytes: impl Iterator<Item = &'b u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
}

#[cfg(test)]
mod tests;
