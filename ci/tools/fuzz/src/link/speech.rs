//! Greetings, payloads and acknowledgements of the peer: acceptable ones, or nearly.

use cluster_engine::wire::{
    FrameHeader, Grant, Hello, Kind, MAX_SEGMENT_PAYLOAD, Receiving, Sending, encode_grants, lane_of, padded,
};
use zerocopy::IntoBytes;

use super::{MAX_ENVELOPE, PEER, STREAMS, Scene, US, WINDOW};

impl Scene<'_> {
    /// Returns a greeting that is acceptable, or nearly.
    pub(super) fn hello(&mut self) -> Hello {
        let pid = self.pid;
        let input = &mut self.input;
        let streams: Vec<(u64, u64)> =
            self.links.link.outgoing().iter_mut().map(|stream| (stream.acked(), stream.sent())).collect();
        let sending = (0..input.below(4)).map(|_| {
            let stream = STREAMS[input.below(5)];
            let next = self.next.get(&stream).copied().unwrap_or(0);
            Sending::new(stream, input.number(next))
        });
        let sending = sending.collect();
        let receiving = (0..input.below(4)).map(|_| {
            let stream = input.below(4);
            let (acked, sent) = streams.get(stream).copied().unwrap_or_default();
            let near = if input.chance() { acked } else { sent };
            Receiving::new(stream as u32, input.number(near))
        });
        let receiving = receiving.collect();
        Hello {
            from: input.number(PEER),
            to: input.number(pid),
            incarnation: [2 + input.below(3) as u8; 16],
            known_incarnation: [US, [0; 16], [9; 16]][input.below(3)],
            max_envelope_bytes: input.number(MAX_ENVELOPE),
            credit: [input.number(WINDOW), WINDOW],
            challenge: 0,
            peer_timeout_ms: 1250,
            features: 0,
            greeting: u32::from(input.byte()),
            cluster: if input.below(16) == 15 { "another" } else { "fuzz" }.to_owned(),
            sending,
            receiving,
        }
    }

    /// Returns the payload of a segment of this kind, or of none.
    pub(super) fn payload(&mut self, kind: Kind, position: u64) -> Vec<u8> {
        if self.input.below(8) == 7 {
            let input = &mut self.input;
            let length = input.below(16) * 8;
            let mut payload = input.take(length).to_vec();
            payload.resize(padded(payload.len()), 0);
            return payload;
        }
        let input = &mut self.input;
        match kind {
            Kind::Data => {
                let present = (input.number(8) as usize % (MAX_SEGMENT_PAYLOAD - 8)) & !7;
                let length = input.number(present as u64) as u32;
                let mut payload = FrameHeader::new(length, 5).as_bytes().to_vec();
                if input.chance() {
                    // The middle of an envelope has no frame header.
                    payload.clear();
                }
                payload.resize(payload.len() + present.min(MAX_SEGMENT_PAYLOAD - payload.len()), 0);
                payload
            }
            Kind::Ack => {
                let grants: Vec<Grant> = (0..self.input.below(4))
                    .map(|_| {
                        let (stream, position, credit) = self.grant();
                        Grant::new(stream, lane_of(stream), position, credit)
                    })
                    .collect();
                encode_grants(&grants)
            }
            Kind::Skip => input.number(position.wrapping_add(64)).to_le_bytes().to_vec(),
            Kind::Goodbye => u64::from(input.byte() % 5).to_le_bytes().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Returns an acknowledgement that is acceptable, or nearly.
    pub(super) fn grant(&mut self) -> (u32, u64, u64) {
        let stream = self.input.below(4);
        let near = self.links.link.outgoing().get(stream).map_or((0, 0), |stream| (stream.acked(), stream.sent()));
        let near_position = if self.input.chance() { near.0 } else { near.1 };
        let position = self.input.number(near_position);
        (stream as u32, position, self.input.number(near.1 + WINDOW))
    }
}
