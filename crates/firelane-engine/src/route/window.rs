//! How many chunks may be under way at once: as many as the output allows, fewer while its destination
//! asks for less. Additive increase, multiplicative decrease, as TCP does (RFC 5681, section 3.1).

use firelane_core::CauseKind;

/// The present limit of chunks under way.
#[derive(Debug)]
pub(super) struct Concurrency {
    max: f64,
    now: f64,
}

impl Concurrency {
    /// Starts at what the output allows.
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1) as f64;
        Self { max, now: max }
    }

    /// Chunks that may be under way: at least 1.
    pub(super) fn limit(&self) -> usize {
        self.now as usize
    }

    /// A chunk was delivered.
    pub(super) fn delivered(&mut self) {
        self.now = (self.now + 1.0 / self.now).min(self.max);
    }

    /// A chunk failed.
    pub(super) fn failed(&mut self, kind: CauseKind) {
        let overloaded = matches!(
            kind,
            CauseKind::Throttled | CauseKind::Timeout | CauseKind::Unavailable
        );
        if overloaded {
            self.now = (self.now / 2.0).max(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_under_load_and_comes_back_slowly() {
        let mut window = Concurrency::new(8);
        window.failed(CauseKind::Refused);
        assert_eq!(window.limit(), 8, "a refusal is no sign of load");
        window.failed(CauseKind::Throttled);
        window.failed(CauseKind::Timeout);
        assert_eq!(window.limit(), 2);
        let mut steps = 0;
        while window.limit() < 8 {
            window.delivered();
            steps += 1;
        }
        assert!((20..40).contains(&steps), "{steps}");
        (0..9).for_each(|_| window.failed(CauseKind::Unavailable));
        assert_eq!(window.limit(), 1);
        window.delivered();
        assert_eq!(window.limit(), 2);
    }
}
