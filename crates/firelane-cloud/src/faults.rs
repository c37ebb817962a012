//! Faults on demand: which requests fail, and how. Deterministic: the `n`-th request to a service has the
//! same fate for the same seed, whatever other services are asked.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::ApiError;
use crate::service::{Protocol, Service};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// The service's own throttling error, nothing done.
    Throttle,
    /// Single records of `PutRecords` and `PutRecordBatch` fail with the service's codes: the share of
    /// *records*.
    Partial,
    /// A fault of the service (5xx), nothing done.
    Error,
    /// No answer at all, nothing done: the connection stays open until the client gives up (ten minutes at
    /// most).
    Hang,
    /// The credentials are said to have expired, nothing done.
    Expired,
    /// The request is carried out, and the connection closed without an answer.
    Lost,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Throttle,
        Self::Partial,
        Self::Error,
        Self::Hang,
        Self::Expired,
        Self::Lost,
    ];

    /// Its name in options and counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::Partial => "partial",
            Self::Error => "error",
            Self::Hang => "hang",
            Self::Expired => "expired",
            Self::Lost => "lost",
        }
    }
}

/// How often something happens: parts of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share(u32);

/// A text that is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no share: write a percentage from 0% to 100%, such as 20% or 0.5%")]
pub struct BadShare(String);

impl Share {
    /// Always.
    pub const ALWAYS: Self = Self(1_000_000);

    /// `percent` of all; `None` outside of 0 to 100.
    pub fn percent(percent: f64) -> Option<Self> {
        let valid = (0.0..=100.0).contains(&percent);
        valid.then(|| Self((percent * 10_000.0).round() as u32))
    }

    /// In percent.
    pub fn as_percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl FromStr for Share {
    type Err = BadShare;

    fn from_str(text: &str) -> Result<Self, BadShare> {
        let number = text.trim().strip_suffix('%').unwrap_or(text.trim());
        let percent = number.parse().ok().filter(|percent: &f64| percent.is_finite());
        percent
            .and_then(Self::percent)
            .ok_or_else(|| BadShare(text.to_owned()))
    }
}

/// Which faults happen how often. What is said of a service goes before what is said of all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    shares: BTreeMap<(Option<Service>, Fault), Share>,
}

impl Faults {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets a share, of one service or of all.
    pub fn set(&mut self, service: Option<Service>, fault: Fault, share: Share) {
        self.shares.insert((service, fault), share);
    }

    /// As [`set`](Self::set).
    #[must_use]
    pub fn with(mut self, service: Option<Service>, fault: Fault, share: Share) -> Self {
        self.set(service, fault, share);
        self
    }

    /// The share that counts for a service.
    pub fn share(&self, service: Service, fault: Fault) -> Share {
        let own = self.shares.get(&(Some(service), fault));
        own.or_else(|| self.shares.get(&(None, fault)))
            .copied()
            .unwrap_or_default()
    }

    /// Everything that was set.
    pub fn iter(&self) -> impl Iterator<Item = (Option<Service>, Fault, Share)> {
        self.shares
            .iter()
            .map(|((service, fault), share)| (*service, *fault, *share))
    }
}

/// How often each fault was put in, by service. Of `partial` it counts records, else requests.
pub type Injected = BTreeMap<(Service, Fault), u64>;

/// Decides about requests.
#[derive(Debug)]
pub(crate) struct Injector {
    seed: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    faults: Faults,
    requests: BTreeMap<Service, u64>,
    injected: Injected,
}

impl Injector {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let inner = Inner {
            faults,
            ..Inner::default()
        };
        Self {
            seed,
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    pub(crate) fn faults(&self) -> Faults {
        self.lock().faults.clone()
    }

    pub(crate) fn injected(&self) -> Injected {
        self.lock().injected.clone()
    }

    /// Counts faults that happened.
    pub(crate) fn count(&self, service: Service, fault: Fault, times: u64) {
        if times > 0 {
            *self.lock().injected.entry((service, fault)).or_default() += times;
        }
    }

    /// The fate of the next request to a service. At most one fault befalls a request as a whole.
    pub(crate) fn next(&self, service: Service) -> Fate {
        let mut inner = self.lock();
        let number = inner.requests.entry(service).or_default();
        *number += 1;
        let mut dice =
            Dice(self.seed ^ (*number).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (service as u64) << 56);
        let whole = [
            Fault::Hang,
            Fault::Expired,
            Fault::Throttle,
            Fault::Error,
            Fault::Lost,
        ];
        // Each has its own throw, so that another share of one does not move the others.
        let thrown = whole.map(|fault| (fault, dice.hits(inner.faults.share(service, fault))));
        let fault = thrown.into_iter().find(|(_, hit)| *hit).map(|(fault, _)| fault);
        if let Some(fault) = fault {
            *inner.injected.entry((service, fault)).or_default() += 1;
        }
        Fate {
            fault,
            partial: inner.faults.share(service, Fault::Partial),
            dice,
        }
    }
}

/// What befalls a request.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) fault: Option<Fault>,
    partial: Share,
    dice: Dice,
}

impl Fate {
    /// Whether the next record fails by itself.
    pub(crate) fn record_fails(&mut self) -> bool {
        self.partial != Share::default() && self.dice.hits(self.partial)
    }

    /// Takes what is left of it for the call; what befalls the whole request stays.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            fault: self.fault,
            partial: self.partial,
            dice: Dice(self.dice.0),
        }
    }

    /// One of two codes, for a record that fails.
    pub(crate) fn flip(&mut self) -> bool {
        self.dice.next() & 1 == 1
    }
}

/// A small generator (splitmix64): the same numbers on every machine.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn hits(&mut self, share: Share) -> bool {
        self.next() % 1_000_000 < u64::from(share.0)
    }
}

/// The error that a service gives for a fault; `None` for those that are no answer.
pub(crate) fn error(service: Service, fault: Fault) -> Option<ApiError> {
    let error = match fault {
        Fault::Throttle => throttled(service),
        Fault::Error => failed(service),
        Fault::Expired => crate::auth::expired(service),
        Fault::Partial | Fault::Hang | Fault::Lost => return None,
    };
    Some(error)
}

fn throttled(service: Service) -> ApiError {
    match service {
        Service::S3 => ApiError::new(503, "SlowDown", "Please reduce your request rate."),
        Service::Sts => ApiError::bad("Throttling", "Rate exceeded"),
        Service::Firehose => ApiError::new(503, "ServiceUnavailableException", "Slow down."),
        Service::Kinesis => ApiError::bad(
            "ProvisionedThroughputExceededException",
            "Rate exceeded for shard shardId-000000000000.",
        ),
        _ => ApiError::bad("ThrottlingException", "Rate exceeded"),
    }
}

fn failed(service: Service) -> ApiError {
    let message = "The request processing has failed because of an unknown error, exception or failure.";
    match (service, service.protocol()) {
        (_, Protocol::RestXml) => ApiError::new(
            500,
            "InternalError",
            "We encountered an internal error. Please try again.",
        ),
        (Service::Logs, _) => ApiError::new(
            500,
            "ServiceUnavailableException",
            "The service cannot complete the request.",
        ),
        (Service::SecretsManager, _) => ApiError::new(500, "InternalServiceError", message),
        (Service::Ssm, _) => ApiError::new(500, "InternalServerError", message),
        (Service::Ecr, _) => ApiError::new(500, "ServerException", message),
        _ => ApiError::new(500, "InternalFailure", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(seed: u64, noise: bool) -> Vec<Option<Fault>> {
        let faults = Faults::none()
            .with(None, Fault::Throttle, "20%".parse().unwrap())
            .with(Some(Service::Logs), Fault::Error, "5%".parse().unwrap());
        let injector = Injector::new(seed, faults);
        (0..2000)
            .map(|_| {
                if noise {
                    injector.next(Service::S3);
                }
                injector.next(Service::Logs).fault
            })
            .collect()
    }

    #[test]
    fn a_seed_decides_and_other_services_do_not() {
        assert_eq!(fates(7, false), fates(7, true));
        assert_ne!(fates(7, false), fates(8, false));
        let throttled = fates(7, false)
            .iter()
            .filter(|fate| **fate == Some(Fault::Throttle))
            .count();
        assert!((330..470).contains(&throttled), "{throttled} of 2000 for 20%");
        let failed = fates(7, false)
            .iter()
            .filter(|fate| **fate == Some(Fault::Error))
            .count();
        assert!((50..120).contains(&failed), "{failed} of 2000 for 5%");
    }

    #[test]
    fn a_service_goes_before_all() {
        let faults = Faults::none().with(None, Fault::Hang, Share::ALWAYS).with(
            Some(Service::S3),
            Fault::Hang,
            Share::default(),
        );
        let injector = Injector::new(0, faults);
        assert_eq!(injector.next(Service::S3).fault, None);
        assert_eq!(injector.next(Service::Sts).fault, Some(Fault::Hang));
        assert_eq!(
            injector.injected(),
            Injected::from([((Service::Sts, Fault::Hang), 1)])
        );
    }

    #[test]
    fn shares() {
        assert_eq!("0.5%".parse::<Share>().unwrap().as_percent(), 0.5);
        assert_eq!("20".parse::<Share>().unwrap(), Share::percent(20.0).unwrap());
        for bad in ["", "x", "101%", "-1%", "NaN", "inf"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
