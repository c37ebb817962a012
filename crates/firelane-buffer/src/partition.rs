//! A partition: frames in the order of their append, and one read position per route.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firelane_record::{Records, Tag};

use crate::frame::{Frame, Guard, Place, RouteId, Routing};

/// Frames in memory, in the order of their append. The lock is held for a push or a few clones, never for
/// I/O.
#[derive(Debug)]
pub struct Partition<G> {
    state: Mutex<State<G>>,
}

#[derive(Debug)]
struct State<G> {
    /// Released frames in the middle leave a hole; holes at the front are popped.
    frames: VecDeque<Option<Arc<Frame<G>>>>,
    /// Index of the frame at the front.
    base: u64,
    /// Number of the next record.
    next: u64,
    readers: Vec<Reader>,
}

/// One route's read position.
#[derive(Debug, Clone, Copy)]
struct Reader {
    /// Index of the next frame to read.
    next: u64,
    /// Bytes appended for this route behind the position.
    unread: usize,
    /// The append that brings `unread` to this many bytes wakes the route.
    wake_at: usize,
}

/// What is appended.
#[derive(Debug)]
pub struct Append<G> {
    /// Stream it belongs to.
    pub stream: u64,
    /// Milliseconds of the caller's clock.
    pub now: u64,
    /// Its tag.
    pub tag: Tag,
    /// The run.
    pub records: Records,
    /// The routes it leads to: at least one.
    pub routing: Arc<Routing>,
    /// Released with the frame.
    pub guard: G,
}

impl<G: Guard> Partition<G> {
    /// An empty partition read by `routes` routes, numbered from 0.
    pub fn new(routes: u16) -> Self {
        let reader = Reader {
            next: 0,
            unread: 0,
            wake_at: 1,
        };
        let readers = vec![reader; usize::from(routes)];
        Self {
            state: Mutex::new(State {
                frames: VecDeque::new(),
                base: 0,
                next: 0,
                readers,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<G>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a run and calls `wake` for each route that waits for it.
    pub fn append(&self, append: Append<G>, mut wake: impl FnMut(RouteId)) {
        let Append {
            stream,
            now,
            tag,
            records,
            routing,
            guard,
        } = append;
        debug_assert!(
            !routing.routes().is_empty(),
            "a frame without a route would never be released"
        );
        let bytes = records.len();
        let mut state = self.lock();
        let place = Place {
            index: state.base + state.frames.len() as u64,
            first: state.next,
            appended: now,
            stream,
        };
        state.next += u64::from(records.count());
        let frame = Arc::new(Frame::new(place, tag, records, routing.clone(), guard));
        state.frames.push_back(Some(frame));
        for &route in routing.routes() {
            let Some(reader) = state.readers.get_mut(usize::from(route.0)) else {
                continue;
            };
            reader.unread += bytes;
            if reader.unread >= reader.wake_at {
                reader.wake_at = usize::MAX;
                wake(route);
            }
        }
    }

    /// Reads frames for `route` into `out`, about `bytes_max` of them, and says how many bytes are left
    /// unread. Also sets when the next append wakes the route: at `wake_at` unread bytes.
    ///
    /// `passed` is called with the record range of every frame that is not for this route.
    pub fn read(
        &self,
        route: RouteId,
        bytes_max: usize,
        wake_at: usize,
        out: &mut Vec<Arc<Frame<G>>>,
        mut passed: impl FnMut(std::ops::Range<u64>),
    ) -> usize {
        let mut state = self.lock();
        let State {
            frames,
            base,
            readers,
            ..
        } = &mut *state;
        let Some(reader) = readers.get_mut(usize::from(route.0)) else {
            return 0;
        };
        let mut taken = 0;
        reader.next = reader.next.max(*base);
        while taken < bytes_max {
            let Some(slot) = frames.get((reader.next - *base) as usize) else {
                break;
            };
            reader.next += 1;
            let Some(frame) = slot else { continue };
            if frame.routing.leads_to(route) {
                taken += frame.records.len();
                out.push(frame.clone());
            } else {
                passed(frame.range());
            }
        }
        reader.unread = reader.unread.saturating_sub(taken);
        reader.wake_at = wake_at.max(reader.unread + 1);
        reader.unread
    }

    /// Wakes `route` at the next append that brings its unread bytes to `wake_at`; true when they are there
    /// already.
    pub fn wake_at(&self, route: RouteId, wake_at: usize) -> bool {
        let mut state = self.lock();
        let Some(reader) = state.readers.get_mut(usize::from(route.0)) else {
            return false;
        };
        if reader.unread >= wake_at.max(1) {
            return true;
        }
        reader.wake_at = wake_at.max(1);
        false
    }

    /// Bytes appended for `route` that it has not read.
    pub fn unread(&self, route: RouteId) -> usize {
        self.lock()
            .readers
            .get(usize::from(route.0))
            .map_or(0, |reader| reader.unread)
    }

    /// When the oldest frame that is not released was appended.
    pub fn oldest(&self) -> Option<u64> {
        self.lock()
            .frames
            .iter()
            .flatten()
            .next()
            .map(|frame| frame.appended)
    }

    /// Number of frames that are not released.
    pub fn frames(&self) -> usize {
        self.lock().frames.iter().flatten().count()
    }

    /// Takes a released frame out.
    pub(crate) fn remove(&self, frame: &Frame<G>) {
        let mut state = self.lock();
        let Some(at) = frame.index.checked_sub(state.base) else {
            return;
        };
        if let Some(slot) = state.frames.get_mut(at as usize) {
            *slot = None;
        }
        while matches!(state.frames.front(), Some(None)) {
            state.frames.pop_front();
            state.base += 1;
        }
    }
}
