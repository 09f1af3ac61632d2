//! Pace: waits that the server demands are kept by everybody, and what it complained about is done more slowly.
//!
//! A wait belongs to a kind of request. While it lasts no request of that kind leaves this machine; who wants to
//! send one is told how long it lasts. How many parts travel at once is halved by every complaint and every broken
//! connection, and grows again with every stretch of success.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Result, TelegramError};

/// A wait of this length is slept through; a longer one is told to the caller, who may have something better to
/// do, and shows it.
const SLEPT_MAX: Duration = Duration::from_secs(2);
/// Put on top of what the server demands, for its clock is not ours.
const MARGIN: Duration = Duration::from_millis(300);
/// Parts in flight at once, at most.
pub(crate) const PARTS_MAX: usize = 4;
/// So many parts without a complaint allow one more in flight.
const PARTS_PER_STEP: u32 = 32;
/// First distance between messages after a complaint, and the largest.
const DISTANCE_FIRST: Duration = Duration::from_millis(250);
const DISTANCE_MAX: Duration = Duration::from_secs(10);

/// What a request does, as far as the server counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Looks at messages and channels.
    Look,
    /// Makes, changes or deletes messages.
    Message,
    /// Carries a part of a file to the server.
    Upload,
    /// Brings a part of a file from the server.
    Download,
}

/// The pace of one account.
pub(crate) struct Flow {
    lanes: [Mutex<Lane>; 4],
}

struct Lane {
    /// No request before.
    open_at: Option<Instant>,
    /// Least time between two requests.
    distance: Duration,
    /// Earliest start of the next request, by the distance.
    next: Option<Instant>,
    parts: usize,
    successes: u32,
}

impl Flow {
    pub(crate) fn new() -> Self {
        let lane = || {
            Mutex::new(Lane {
                open_at: None,
                distance: Duration::ZERO,
                next: None,
                parts: PARTS_MAX,
                successes: 0,
            })
        };
        Flow { lanes: [lane(), lane(), lane(), lane()] }
    }

    fn lane(&self, kind: Kind) -> &Mutex<Lane> {
        &self.lanes[match kind {
            Kind::Look => 0,
            Kind::Message => 1,
            Kind::Upload => 2,
            Kind::Download => 3,
        }]
    }

    /// Waits until a request of this kind may leave.
    ///
    /// # Errors
    /// `Wait` if that would take long.
    pub(crate) async fn enter(&self, kind: Kind) -> Result<()> {
        loop {
            let Some(wait) = self.lane(kind).lock().claim(Instant::now())? else { return Ok(()) };
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes note of what became of a request.
    pub(crate) fn note<T>(&self, kind: Kind, outcome: &Result<T>) {
        let mut lane = self.lane(kind).lock();
        match outcome {
            Ok(_) => lane.relax(kind),
            Err(TelegramError::Wait { wait }) => lane.demand(kind, *wait, Instant::now()),
            // Parts that share a thin line are late together; fewer at once are in time.
            Err(error) if error.is_broken() => lane.parts = (lane.parts / 2).max(1),
            Err(_) => {}
        }
    }

    /// How many parts may travel at once.
    pub(crate) fn parts(&self, kind: Kind) -> usize {
        self.lane(kind).lock().parts
    }
}

impl Lane {
    /// A place for one request: taken, or to be asked for again after a while.
    fn claim(&mut self, now: Instant) -> Result<Option<Duration>> {
        if let Some(open_at) = self.open_at {
            let wait = open_at.saturating_duration_since(now);
            if wait > SLEPT_MAX {
                return Err(TelegramError::Wait { wait });
            }
            if !wait.is_zero() {
                return Ok(Some(wait));
            }
            self.open_at = None;
        }
        match self.next {
            Some(next) if next > now => Ok(Some(next - now)),
            _ => {
                self.next = (!self.distance.is_zero()).then(|| now + self.distance);
                Ok(None)
            }
        }
    }

    fn demand(&mut self, kind: Kind, wait: Duration, now: Instant) {
        let open_at = now + wait + MARGIN;
        if self.open_at.is_some_and(|known| known > now) {
            // Requests that were under way together complain together; it is one complaint.
            self.open_at = self.open_at.max(Some(open_at));
            return;
        }
        self.open_at = Some(open_at);
        self.successes = 0;
        self.parts = (self.parts / 2).max(1);
        if matches!(kind, Kind::Message | Kind::Look) {
            self.distance = (self.distance * 2).clamp(DISTANCE_FIRST, DISTANCE_MAX);
        }
    }

    fn relax(&mut self, kind: Kind) {
        self.successes += 1;
        if self.successes < PARTS_PER_STEP {
            return;
        }
        self.successes = 0;
        self.parts = (self.parts + 1).min(PARTS_MAX);
        if matches!(kind, Kind::Message | Kind::Look) {
            self.distance /= 2;
            if self.distance < DISTANCE_FIRST / 4 {
                self.distance = Duration::ZERO;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        let Flow { lanes: [lane, ..] } = Flow::new();
        lane.into_inner()
    }

    #[test]
    fn nothing_leaves_before_the_demanded_wait_is_over() {
        let (mut lane, now) = (lane(), Instant::now());
        lane.demand(Kind::Upload, Duration::from_secs(60), now);
        for second in [0, 30, 57] {
            assert!(matches!(lane.claim(now + Duration::from_secs(second)), Err(TelegramError::Wait { .. })));
        }
        assert!(lane.claim(now + Duration::from_secs(59)).unwrap().is_some());
        assert_eq!(lane.claim(now + Duration::from_secs(61)).unwrap(), None);
    }

    #[test]
    fn complaints_halve_the_parts_and_success_brings_them_back() {
        let (mut lane, now) = (lane(), Instant::now());
        lane.demand(Kind::Upload, Duration::from_secs(1), now);
        lane.demand(Kind::Upload, Duration::from_secs(1), now);
        assert_eq!(lane.parts, PARTS_MAX / 2, "complaints about one burst are one complaint");
        lane.demand(Kind::Upload, Duration::from_secs(1), now + Duration::from_secs(9));
        assert_eq!(lane.parts, 1);
        for _ in 0..PARTS_PER_STEP * 8 {
            lane.relax(Kind::Upload);
        }
        assert_eq!(lane.parts, PARTS_MAX);
    }

    #[test]
    fn messages_keep_a_distance_after_a_complaint() {
        let (mut lane, now) = (lane(), Instant::now());
        lane.demand(Kind::Message, Duration::from_secs(1), now);
        let later = now + Duration::from_secs(5);
        assert_eq!(lane.claim(later).unwrap(), None);
        assert_eq!(lane.claim(later).unwrap(), Some(DISTANCE_FIRST));
        for _ in 0..PARTS_PER_STEP * 3 {
            lane.relax(Kind::Message);
        }
        assert_eq!(lane.claim(later + DISTANCE_MAX).unwrap(), None);
        assert_eq!(lane.claim(later + DISTANCE_MAX).unwrap(), None);
    }
}
