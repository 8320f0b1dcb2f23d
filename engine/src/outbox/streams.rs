//! Streams of one outbox, by the place of their link.

use crate::link::Pid;
use crate::roster::LinkId;
use crate::stream::{Lane, SendQueue};

/// Streams of one outbox. The streams of a link end when another link takes its place, or when the link is removed.
#[derive(Default)]
pub(crate) struct Streams {
    known: Known,
    /// Streams by [`place`]. `None`: nothing was written to the stream yet, or the peer is gone.
    writers: Vec<Option<SendQueue>>,
}

/// Generation of the link at each place, as far as the outbox knows.
#[derive(Default)]
pub(super) struct Known(Vec<Option<u32>>);

impl Known {
    /// Returns the link at a place.
    pub(super) fn link(&self, index: usize) -> Option<LinkId> {
        let generation = (*self.0.get(index)?)?;
        Some(LinkId { index: index as u32, generation })
    }
}

/// Returns the place of a stream: the one of a link on a lane.
#[inline(always)]
fn place(index: usize, lane: Lane) -> usize {
    index * LANES + lane as usize
}

const LANES: usize = Lane::COUNT;

impl Streams {
    /// Returns the link at a place.
    pub(super) fn link(&self, index: usize) -> Option<LinkId> {
        self.known.link(index)
    }

    /// Returns the stream of the link at a place, if it was opened.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, index: usize, lane: Lane) -> Option<&mut SendQueue> {
        self.get_with_known(index, lane).map(|(writer, _)| writer)
    }

    /// Returns the stream of the link at a place, if it was opened, and the table of links, which names that link.
    #[inline(always)]
    pub(super) fn get_with_known(&mut self, index: usize, lane: Lane) -> Option<(&mut SendQueue, &Known)> {
        let writer = self.writers.get_mut(place(index, lane))?.as_mut()?;
        Some((writer, &self.known))
    }

    /// Returns the slot for the stream of the link at a place.
    ///
    /// # Panics
    /// Panics when there never was a link at the place.
    pub(super) fn slot(&mut self, index: usize, lane: Lane) -> &mut Option<SendQueue> {
        &mut self.writers[place(index, lane)]
    }

    /// Returns all streams that were opened.
    pub(super) fn writers(&self) -> impl Iterator<Item = &SendQueue> {
        self.writers.iter().flatten()
    }

    /// Returns all streams that were opened.
    pub(super) fn writers_mut(&mut self) -> impl Iterator<Item = &mut SendQueue> {
        self.writers.iter_mut().flatten()
    }

    /// Returns whether the peer has yet to acknowledge something that was written on this link.
    pub(super) fn is_unflushed(&mut self, link: LinkId) -> bool {
        let index = link.index as usize;
        if self.link(index) != Some(link) {
            return false;
        }
        self.writers[index * LANES..][..LANES].iter_mut().flatten().any(SendQueue::is_unflushed)
    }

    /// Asks for an acknowledgement of everything written on this link. Returns `true` if the link must be signalled: it
    /// has processed earlier requests.
    pub(super) fn request_ack(&mut self, link: LinkId) -> bool {
        let index = link.index as usize;
        if self.link(index) != Some(link) {
            return false;
        }
        // All streams are asked, so that none asks again before it is answered.
        let mut tell = false;
        for stream in self.writers[index * LANES..][..LANES].iter_mut().flatten() {
            tell |= stream.request_ack();
        }
        tell
    }

    /// Adds a link. The streams of an earlier link at its place end.
    pub(super) fn add(&mut self, link: LinkId) {
        let index = link.index as usize;
        if self.known.0.len() <= index {
            self.known.0.resize(index + 1, None);
            self.writers.resize_with((index + 1) * LANES, || None);
        }
        if self.known.0[index] != Some(link.generation) {
            self.empty(index);
            self.known.0[index] = Some(link.generation);
        }
    }

    /// Removes a link. Its streams end.
    pub(super) fn remove(&mut self, link: LinkId) {
        if self.link(link.index as usize) == Some(link) {
            self.empty(link.index as usize);
        }
    }

    /// Keeps these links and adds those that are new. Removes all others; their streams end.
    pub(super) fn follow(&mut self, members: &[(Pid, LinkId)]) {
        let mut present = vec![false; self.known.0.len()];
        for (_, link) in members {
            self.add(*link);
            if let Some(present) = present.get_mut(link.index as usize) {
                *present = true;
            }
        }
        for (index, _) in present.iter().enumerate().filter(|(_, present)| !**present) {
            self.empty(index);
        }
    }

    /// Drops the streams that are closed.
    pub(super) fn forget_closed(&mut self) {
        for writer in &mut self.writers {
            *writer = writer.take().filter(|writer| !writer.is_closed());
        }
    }

    /// Ends the streams. Envelopes that are in them are still sent. Returns the links that must be signalled.
    pub(super) fn end(self) -> impl Iterator<Item = LinkId> {
        let Streams { known, writers } = self;
        let writers = writers.into_iter().enumerate().filter_map(|(place, writer)| Some((place / LANES, writer?)));
        writers.filter_map(move |(index, mut writer)| writer.close().then(|| known.link(index)).flatten())
    }

    /// Number of places.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn places(&self) -> usize {
        self.known.0.len()
    }

    fn empty(&mut self, index: usize) {
        self.known.0[index] = None;
        self.writers[index * LANES..][..LANES].fill_with(|| None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{self, SendWindow};

    fn link(index: u32, generation: u32) -> LinkId {
        LinkId { index, generation }
    }

    fn open(streams: &mut Streams, index: usize) -> SendWindow {
        let (writer, reader) = stream::stream(stream::stream_id(0, Lane::Normal), 64 * 1024, 1 << 20).unwrap();
        *streams.slot(index, Lane::Normal) = Some(writer);
        reader
    }

    #[test]
    fn a_stream_ends_when_another_link_takes_the_place_of_its_own() {
        let mut streams = Streams::default();
        streams.add(link(1, 0));
        assert_eq!((streams.link(0), streams.link(1), streams.link(2)), (None, Some(link(1, 0)), None));
        let first = open(&mut streams, 1);
        streams.add(link(1, 0));
        streams.remove(link(1, 7));
        assert!(!first.is_closed() && streams.get_mut(1, Lane::Normal).is_some(), "it is the same link");
        streams.add(link(1, 1));
        assert!(first.is_closed() && streams.get_mut(1, Lane::Normal).is_none());
        let second = open(&mut streams, 1);
        streams.remove(link(1, 1));
        assert!(second.is_closed() && streams.link(1).is_none());
    }

    #[test]
    fn an_outbox_that_missed_changes_keeps_the_streams_of_the_remaining_peers() {
        let mut streams = Streams::default();
        [link(0, 0), link(1, 0), link(2, 5)].into_iter().for_each(|link| streams.add(link));
        let readers = [0, 1, 2].map(|index| open(&mut streams, index));
        streams.follow(&[(10, link(1, 1)), (20, link(2, 5)), (30, link(3, 0))]);
        assert_eq!(readers.map(|reader| reader.is_closed()), [true, true, false]);
        assert_eq!(
            [0, 1, 2, 3].map(|index| streams.link(index).map(|link| link.generation)),
            [None, Some(1), Some(5), Some(0)]
        );
    }
}
