//! Records of one series behind each other: what a request leaves, what a frame holds.
//!
//! ```text
//! record:  time i64 | arrival i64 | key u16 | len u32 | key | data        little-endian, times in ms
//! ```
//!
//! `key` is Kinesis' partition key; it is empty elsewhere. `time` is the event's time of CloudWatch Logs,
//! and the arrival elsewhere. Records have no number of their own: they are counted from the block's first.

/// Bytes before key and data.
pub(crate) const HEAD: usize = 22;

/// Times of records, in ms since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Span {
    /// Nothing yet: joining it with a time gives that time.
    pub(crate) const NONE: Self = Self {
        first: i64::MAX,
        last: i64::MIN,
    };

    pub(crate) fn add(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// Whether any of `from..to` may be in it.
    pub(crate) fn meets(&self, from: i64, to: i64) -> bool {
        self.first < to && self.last >= from
    }
}

/// What is known of records without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) count: u32,
    /// Bytes of data and keys.
    pub(crate) payload: u64,
    pub(crate) span: Span,
    /// Latest arrival, in ms.
    pub(crate) arrived: i64,
}

impl Summary {
    pub(crate) const NONE: Self = Self {
        count: 0,
        payload: 0,
        span: Span::NONE,
        arrived: i64::MIN,
    };

    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.payload += other.payload;
        self.span.add(other.span);
        self.arrived = self.arrived.max(other.arrived);
    }
}

/// Records that were checked and have no number yet.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) summary: Summary,
}

impl Batch {
    /// Empty, with room for `bytes`.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            summary: Summary::NONE,
        }
    }

    /// Appends a record whose data are written by `data`; gives the bytes of data and key. The key has at
    /// most 64 KiB, the data 4 GiB: limits of the services are far below.
    pub(crate) fn push(
        &mut self,
        time: i64,
        arrival: i64,
        key: &[u8],
        data: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let key = key.get(..usize::from(u16::MAX)).unwrap_or(key);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&time.to_le_bytes());
        self.bytes.extend_from_slice(&arrival.to_le_bytes());
        self.bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(key);
        let from = self.bytes.len();
        data(&mut self.bytes);
        let len = self.bytes.len() - from;
        if let Some(place) = self.bytes.get_mut(start + 18..start + HEAD) {
            place.copy_from_slice(&(len as u32).to_le_bytes());
        }
        let payload = len + key.len();
        self.summary.add(&Summary {
            count: 1,
            payload: payload as u64,
            span: Span {
                first: time,
                last: time,
            },
            arrived: arrival,
        });
        payload
    }
}

/// A record as it lies in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    pub(crate) time: i64,
    pub(crate) arrival: i64,
    pub(crate) key: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// The records of a block, in order. Ends at the first that is not whole.
pub(crate) fn records(mut block: &[u8]) -> impl Iterator<Item = Stored<'_>> {
    std::iter::from_fn(move || {
        let (time, rest) = block.split_first_chunk()?;
        let (arrival, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*key)))?;
        let (data, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        block = rest;
        Some(Stored {
            time: i64::from_le_bytes(*time),
            arrival: i64::from_le_bytes(*arrival),
            key,
            data,
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_pushed_comes_back(
            all in prop::collection::vec(
                (any::<i64>(), any::<i64>(), prop::collection::vec(any::<u8>(), 0..40), ".{0,80}"), 0..20),
            cut in 0usize..200,
        ) {
            let mut batch = Batch::with_capacity(0);
            for (time, arrival, key, data) in &all {
                let size = batch.push(*time, *arrival, key, |out| out.extend_from_slice(data.as_bytes()));
                prop_assert_eq!(size, key.len() + data.len());
            }
            let back: Vec<_> = records(&batch.bytes).collect();
            prop_assert_eq!(back.len(), all.len());
            for (stored, (time, arrival, key, data)) in back.iter().zip(&all) {
                let want = Stored { time: *time, arrival: *arrival, key, data: data.as_bytes() };
                prop_assert_eq!(stored, &want);
            }
            prop_assert_eq!(batch.summary.count as usize, all.len());
            let kept = batch.bytes.len().saturating_sub(cut);
            let whole = records(&batch.bytes[..kept]).count();
            prop_assert!(whole <= all.len());
        }
    }

    #[test]
    fn spans_meet_half_open_ranges() {
        let span = Span { first: 10, last: 20 };
        assert!(span.meets(20, 21) && span.meets(0, 11));
        assert!(!span.meets(21, 30) && !span.meets(0, 10));
    }
}
