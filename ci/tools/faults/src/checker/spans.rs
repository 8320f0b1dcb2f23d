//! Sets of mostly consecutive sequence numbers.

/// Consecutive numbers, and the time at which the first of them was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: u64,
    pub last: u64,
    pub time: u64,
}

impl Span {
    pub fn count(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Returns the part of the span from `first` to `last`.
    pub fn within(&self, first: u64, last: u64) -> Option<Span> {
        let span = Span { first: self.first.max(first), last: self.last.min(last), time: self.time };
        (span.first <= span.last).then_some(span)
    }
}

/// Spans in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    spans: Vec<Span>,
}

impl Spans {
    /// Adds a span. Joins it with the last one if it follows that one and begins at most `joined` nanoseconds after it.
    pub fn add(&mut self, span: Span, joined: u64) {
        match self.spans.last_mut() {
            Some(last) if last.last + 1 == span.first && span.time.saturating_sub(last.time) <= joined => {
                last.last = span.last;
            }
            _ => self.spans.push(span),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter()
    }

    pub fn count(&self) -> u64 {
        self.spans.iter().map(Span::count).sum()
    }

    /// Returns the parts of these spans between `first` and `last`. The spans must ascend.
    pub fn between(&self, first: u64, last: u64) -> impl Iterator<Item = Span> {
        let begin = self.spans.partition_point(|span| span.last < first);
        let spans = self.spans[begin..].iter().take_while(move |span| span.first <= last);
        spans.filter_map(move |span| span.within(first, last))
    }
}
