//! Credentials: found by the official chain, shared by everybody in the process who wants the same ones,
//! renewed ahead of their end.
//!
//! Deliveries never wait for a renewal that is not needed yet: old credentials that still hold are given
//! while one task fetches new ones. Those who must wait share one fetch. A failure is remembered for a
//! moment, so that many chunks do not ask a server that is down, each for itself; a renewal on the side
//! waits that moment too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;

use super::clock::Clock;
use super::{AwsSettings, chain};

/// They are renewed this long before they end, or at the last quarter of their life where that is shorter.
const RENEW_AHEAD: Duration = Duration::from_secs(300);
/// Credentials that end sooner are not given any more; an eighth of their life where that is shorter.
const SPARE: Duration = Duration::from_secs(5);
/// Fresh credentials that have ended already by our clock are kept for so long: the clock is wrong, or the
/// service will say so.
const TRUSTED: Duration = Duration::from_secs(120);
/// How long a failure is remembered: a source is not asked again in that time.
pub(super) const FAILURE_KEPT: Duration = Duration::from_secs(2);

/// What decides which credentials somebody gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) profile: Option<String>,
    pub(super) role_arn: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) sts_endpoint: Option<String>,
    pub(super) credentials_endpoint: Option<String>,
    /// Of STS; empty where no role is assumed.
    region: String,
}

impl Wanted {
    /// What a client with `settings` in `region` wants.
    pub(super) fn new(settings: &AwsSettings, region: &str) -> Self {
        let region = if settings.role_arn.is_some() { region } else { "" };
        Self {
            profile: settings.profile.clone(),
            role_arn: settings.role_arn.clone(),
            external_id: settings.external_id.clone(),
            sts_endpoint: settings.sts_endpoint.clone(),
            credentials_endpoint: settings.credentials_endpoint.clone(),
            region: region.to_owned(),
        }
    }
}

/// A source of credentials with what it gave last.
#[derive(Debug)]
pub(super) struct Source {
    wanted: Wanted,
    /// Where STS is asked, if the way to the credentials leads over it.
    region: String,
    /// Of STS.
    clock: Clock,
    state: Mutex<State>,
    /// Held by the one who fetches.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    failed: Option<(Instant, String)>,
    renews: bool,
}

/// Credentials that were fetched.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) credentials: Credentials,
    fetched: Instant,
    /// From here on new ones are fetched.
    renew_at: Option<SystemTime>,
    /// From here on they are not given any more.
    last: Option<SystemTime>,
}

impl Kept {
    fn new(credentials: Credentials) -> Self {
        let now = SystemTime::now();
        let end = credentials.expiry().map(|end| match end.duration_since(now) {
            Ok(life) if life > Duration::from_secs(1) => (end, life),
            _ => (now + TRUSTED, TRUSTED),
        });
        Self {
            credentials,
            fetched: Instant::now(),
            renew_at: end.map(|(end, life)| end - RENEW_AHEAD.min(life / 4)),
            last: end.map(|(end, life)| end - SPARE.min(life / 8)),
        }
    }

    fn holds(&self, now: SystemTime) -> bool {
        self.last.is_none_or(|last| now < last)
    }
}

static SOURCES: Mutex<Option<HashMap<Wanted, Weak<Source>>>> = Mutex::new(None);

impl Source {
    /// The process's source for `wanted`; a new one asks STS in `region`.
    pub(super) fn shared(wanted: Wanted, region: &str) -> Arc<Self> {
        let mut sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = sources.get_or_insert_default();
        if let Some(source) = sources.get(&wanted).and_then(Weak::upgrade) {
            return source;
        }
        sources.retain(|_, source| source.strong_count() > 0);
        let source = Arc::new(Self {
            wanted: wanted.clone(),
            region: region.to_owned(),
            clock: Clock::default(),
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        });
        sources.insert(wanted, Arc::downgrade(&source));
        source
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Credentials that hold.
    ///
    /// # Errors
    /// What was tried, each with its reason.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Kept, String> {
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let _turn = self.turn.lock().await;
        // Who had the turn before may have fetched them, or have failed.
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        if let Some(why) = self.state().failure() {
            return Err(why);
        }
        self.fetch().await
    }

    /// What there is and holds; renewed on the side where it is time for that.
    fn kept(self: &Arc<Self>) -> Option<Kept> {
        let now = SystemTime::now();
        let mut state = self.state();
        let kept = state.kept.clone().filter(|kept| kept.holds(now))?;
        let is_due = kept.renew_at.is_some_and(|at| at <= now);
        if is_due && !state.renews && state.failure().is_none() {
            state.renews = true;
            tokio::spawn(Renewal(self.clone()).run());
        }
        Some(kept)
    }

    async fn fetch(&self) -> Result<Kept, String> {
        let found = chain::ask(&self.wanted, &self.region, &self.clock).await;
        let mut state = self.state();
        match found {
            Ok(credentials) => {
                state.failed = None;
                let kept = Kept::new(credentials);
                state.kept = Some(kept.clone());
                Ok(kept)
            }
            Err(why) => {
                let why = format!(
                    "no AWS credentials: {why}; in an ECS task they come from the task role (`taskRoleArn`)"
                );
                state.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    /// Forgets what a service has refused, unless others were fetched since.
    pub(super) fn forget(&self, refused: &Kept) {
        let mut state = self.state();
        if state
            .kept
            .as_ref()
            .is_some_and(|kept| kept.fetched == refused.fetched)
        {
            state.kept = None;
        }
    }
}

impl State {
    /// The last failure, while it is fresh.
    fn failure(&self) -> Option<String> {
        let (at, why) = self.failed.as_ref()?;
        (at.elapsed() < FAILURE_KEPT).then(|| why.clone())
    }
}

/// A renewal on the side. It may end with its runtime at any point, so its mark is taken away on drop.
struct Renewal(Arc<Source>);

impl Renewal {
    async fn run(self) {
        let _turn = self.0.turn.lock().await;
        let had_failed = self.0.state().failed.is_some();
        if let Err(why) = self.0.fetch().await
            && !had_failed
        {
            tracing::warn!(target: "aws", "credentials could not be renewed, the old ones still hold: {why}");
        }
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.state().renews = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;

    use super::*;

    fn credentials(id: &str, life: Option<Duration>) -> Credentials {
        let end = life.map(|life| SystemTime::now() + life);
        Credentials::new(id, "secret", None, end, "test")
    }

    fn source(role: &str) -> Arc<Source> {
        let settings = AwsSettings {
            role_arn: Some(role.to_owned()),
            ..AwsSettings::default()
        };
        Source::shared(Wanted::new(&settings, "us-east-1"), "us-east-1")
    }

    #[test]
    fn equal_wishes_share_a_source() {
        let (one, same, other) = (source("share-a"), source("share-a"), source("share-b"));
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!Arc::ptr_eq(&one, &other));
    }

    /// How long before their end they are renewed, and not given any more, in seconds.
    fn marks(life: u64) -> (f64, f64) {
        let kept = Kept::new(credentials("a", Some(Duration::from_secs(life))));
        let end = kept.credentials.expiry().unwrap();
        let before = |at: Option<SystemTime>| end.duration_since(at.unwrap()).unwrap().as_secs_f64();
        (before(kept.renew_at), before(kept.last))
    }

    #[test]
    fn they_are_renewed_ahead_of_their_end() {
        assert_eq!(marks(3600), (300.0, 5.0));
        let near = |(renew, last): (f64, f64), want: (f64, f64)| {
            assert!(
                (renew - want.0).abs() < 0.1 && (last - want.1).abs() < 0.1,
                "{renew} {last}"
            );
        };
        near(marks(60), (15.0, 5.0));
        near(marks(4), (1.0, 0.5));
        let endless = Kept::new(credentials("a", None));
        assert!(
            endless.renew_at.is_none() && endless.holds(SystemTime::now() + Duration::from_secs(1 << 32))
        );
    }

    #[test]
    fn ended_ones_are_trusted_for_a_while() {
        // Scenario: our clock is hours ahead. Guarantees: not a fetch for each request.
        let over = Credentials::new("a", "b", None, Some(SystemTime::UNIX_EPOCH), "test");
        let kept = Kept::new(over);
        let now = SystemTime::now();
        assert!(kept.holds(now + TRUSTED / 2) && !kept.holds(now + TRUSTED));
        assert!(kept.renew_at.unwrap() > now + TRUSTED / 2);
    }

    #[test]
    fn only_what_was_refused_is_forgotten() {
        let source = source("forget");
        let old = Kept::new(credentials("same", None));
        std::thread::sleep(Duration::from_millis(1));
        let new = Kept::new(credentials("same", None));
        source.state().kept = Some(new.clone());
        source.forget(&old);
        assert!(source.state().kept.is_some());
        source.forget(&new);
        assert!(source.state().kept.is_none());
    }

    #[test]
    fn a_renewal_that_ends_with_its_runtime_leaves_no_mark() {
        // Scenario: a command asks for a secret on a runtime of its own while the credentials are due.
        // Guarantees: the next caller renews them.
        let source = source("runtime");
        let mut kept = Kept::new(credentials("a", None));
        kept.renew_at = Some(SystemTime::UNIX_EPOCH);
        source.state().kept = Some(kept);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            assert_eq!(source.get().await.unwrap().credentials.access_key_id(), "a");
            assert!(source.state().renews);
        });
        drop(runtime);
        assert!(!source.state().renews);
    }

    #[tokio::test]
    async fn a_failure_is_remembered_for_a_moment() {
        let settings = AwsSettings {
            // Nobody listens on port 1.
            credentials_endpoint: Some("http://127.0.0.1:1/x".to_owned()),
            ..AwsSettings::default()
        };
        let source = Source::shared(Wanted::new(&settings, ""), "us-east-1");
        let first = source.get().await.unwrap_err();
        assert!(
            first.contains("no AWS credentials: ") && first.contains("127.0.0.1:1"),
            "{first}"
        );
        let at = source.state().failed.as_ref().map(|(at, _)| *at);
        assert_eq!(source.get().await.unwrap_err(), first);
        assert_eq!(source.state().failed.as_ref().map(|(at, _)| *at), at);
    }

    /// An endpoint that gives keys when it is allowed to, or hangs up; counts who asked.
    async fn endpoint(answers: Arc<Semaphore>, asked: Arc<AtomicUsize>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::Relaxed);
                let Ok(permit) = answers.acquire().await else {
                    continue;
                };
                permit.forget();
                let body = r#"{"AccessKeyId":"new","SecretAccessKey":"s"}"#;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        url
    }

    /// A source with keys `old` that are due.
    async fn due(answers: &Arc<Semaphore>, asked: &Arc<AtomicUsize>) -> Arc<Source> {
        let settings = AwsSettings {
            credentials_endpoint: Some(endpoint(answers.clone(), asked.clone()).await),
            ..AwsSettings::default()
        };
        let source = Source::shared(Wanted::new(&settings, ""), "us-east-1");
        let mut kept = Kept::new(credentials("old", None));
        kept.renew_at = Some(SystemTime::UNIX_EPOCH);
        source.state().kept = Some(kept);
        source
    }

    /// Which keys are given `count` times in a row, a moment apart.
    async fn given(source: &Arc<Source>, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let kept = source.get().await.unwrap();
            ids.push(kept.credentials.access_key_id().to_owned());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        ids.dedup();
        ids
    }

    #[tokio::test]
    async fn nobody_waits_for_a_renewal() {
        // Scenario: the endpoint keeps a renewal waiting. Guarantees: the old ones are given at once, the
        // endpoint is asked once, and the new ones come when they are there.
        let (answers, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let source = due(&answers, &asked).await;
        assert_eq!(given(&source, 50).await, ["old"]);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        answers.add_permits(1);
        while given(&source, 1).await != ["new"] {}
        assert_eq!(given(&source, 10).await, ["new"]);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn old_ones_serve_while_renewals_fail() {
        // Scenario: the endpoint hangs up. Guarantees: the old ones are given, the endpoint is asked again
        // when the failure is no longer fresh, and not before.
        let (answers, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        answers.close();
        let source = due(&answers, &asked).await;
        let begun = Instant::now();
        assert_eq!(given(&source, 100).await, ["old"]);
        let rounds = 1 + begun.elapsed().as_secs() as usize / FAILURE_KEPT.as_secs() as usize;
        assert!((1..=rounds).contains(&asked.load(Ordering::Relaxed)));
        tokio::time::sleep(FAILURE_KEPT).await;
        assert_eq!(given(&source, 20).await, ["old"]);
        assert!(asked.load(Ordering::Relaxed) >= 2);
    }
}
