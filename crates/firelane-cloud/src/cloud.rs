//! The endpoint's inside: options, store, faults, sessions; and the handle that others hold of it.

use std::collections::VecDeque;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;

use crate::error::ApiError;
use crate::faults::{Fate, Faults, Injected, Injector};
use crate::service::Service;
use crate::store::segment::Frames;
use crate::store::{OpenError, Store};

/// What becomes of a request for a stream, group or bucket that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// The service's error, as AWS.
    #[default]
    Refuse,
    /// It is made, and listed in [`Cloud::created`]. Secrets and parameters are never made: they have no
    /// value.
    Create,
}

/// Which limits count where AWS has raised them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Limits {
    /// Kinesis: 10 MiB a record and a request.
    #[default]
    Current,
    /// Kinesis: 1 MiB a record, 5 MiB a request.
    Classic,
}

/// What is decided at the start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the data; without it a temporary one, which goes with the endpoint.
    pub data: Option<PathBuf>,
    /// Account in ARNs, 12 digits.
    pub account: String,
    /// Region in ARNs. Resources are the same in all regions.
    pub region: String,
    /// What becomes of requests for what does not exist.
    pub missing: Missing,
    /// Which limits count.
    pub limits: Limits,
    /// Faults from the start on.
    pub faults: Faults,
    /// Seed of the faults.
    pub seed: u64,
    /// Access key and secret key. With it signatures are verified; without it any are taken.
    pub credentials: Option<Credentials>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data: None,
            account: "123456789012".into(),
            region: "us-east-1".into(),
            missing: Missing::default(),
            limits: Limits::default(),
            faults: Faults::none(),
            seed: 0,
            credentials: None,
        }
    }
}

/// Credentials that the endpoint knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `AKIA…`, `ASIA…`
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// The token of temporary ones.
    pub token: Option<String>,
    /// When temporary ones end, in ms since the epoch.
    pub expires_ms: Option<i64>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key", &self.access_key)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// Something that was made because a request needed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// `log group`, `log stream`, `bucket` and so on.
    pub kind: &'static str,
    /// Its name; of a log stream with its group before a colon.
    pub name: String,
}

/// Most entries of [`Cloud::created`].
const CREATED_MAX: usize = 10_000;
/// Most sessions that are remembered; the oldest go.
const SESSIONS_MAX: usize = 1000;

/// A running endpoint from inside: seeds it, reads it, puts faults in. Cheap to clone; all clones are the
/// same.
#[derive(Debug, Clone)]
pub struct Cloud(pub(crate) Arc<Inner>);

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) injector: Injector,
    created: Mutex<Vec<Created>>,
    sessions: Mutex<VecDeque<Credentials>>,
    ids: AtomicU64,
    hasher: RandomState,
    // Removed after the store is closed.
    folder: Folder,
}

/// One call of a JSON service.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) body: Bytes,
    /// Now, in ms since the epoch.
    pub(crate) now: i64,
    pub(crate) fate: Fate,
}

/// The body of an answer.
pub(crate) type Answer = Result<Bytes, ApiError>;

/// An answer of JSON.
pub(crate) fn ok(value: &Value) -> Answer {
    Ok(value.to_string().into())
}

/// An answer without members.
pub(crate) fn done() -> Answer {
    Ok(Bytes::new())
}

impl Cloud {
    /// Opens the data. No socket yet: see [`Endpoint`](crate::Endpoint).
    pub(crate) fn open(options: Options) -> Result<Self, OpenError> {
        let folder = Folder::open(options.data.as_deref())?;
        let inner = Inner {
            store: Store::open(&folder.path)?,
            injector: Injector::new(options.seed, options.faults.clone()),
            options,
            created: Mutex::default(),
            sessions: Mutex::default(),
            ids: AtomicU64::new(1),
            hasher: RandomState::new(),
            folder,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Where the data are.
    pub fn folder(&self) -> &Path {
        &self.0.folder.path
    }

    /// Replaces the faults, for requests from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.injector.set(faults);
    }

    /// The faults that are set.
    pub fn faults(&self) -> Faults {
        self.0.injector.faults()
    }

    /// How many faults were put in so far.
    pub fn injected(&self) -> Injected {
        self.0.injector.injected()
    }

    /// What was made because it was missing, at most the first 10,000.
    pub fn created(&self) -> Vec<Created> {
        self.0
            .created
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes temporary credentials known, so that their signatures are verified and their end is seen.
    pub fn know(&self, credentials: Credentials) {
        self.0.remember(credentials);
    }
}

impl Inner {
    /// An ARN of this account and region.
    pub(crate) fn arn(&self, service: Service, resource: &str) -> String {
        let Options { account, region, .. } = &self.options;
        let partition = partition(region);
        format!("arn:{partition}:{}:{region}:{account}:{resource}", service.name())
    }

    /// 64 bits that nobody has seen, not for secrets.
    pub(crate) fn unique(&self) -> u64 {
        self.hasher.hash_one(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// A random UUID's form.
    pub(crate) fn uuid(&self) -> String {
        let (high, low) = (self.unique(), self.unique());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48 & 0x3fff),
            low & 0xffff_ffff_ffff
        )
    }

    /// `count` letters and digits.
    pub(crate) fn letters(&self, count: usize, upper: bool) -> String {
        const ALL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567abcdefghijklmnopqrstuvwxyz89";
        let all = if upper { ALL.get(..32) } else { Some(ALL) }.unwrap_or(ALL);
        let mut out = String::with_capacity(count);
        while out.len() < count {
            let mut bits = self.unique();
            for _ in 0..10.min(count - out.len()) {
                let at = (bits % all.len() as u64) as usize;
                out.push(char::from(all.get(at).copied().unwrap_or(b'A')));
                bits /= all.len() as u64;
            }
        }
        out
    }

    pub(crate) fn is_creating(&self) -> bool {
        self.options.missing == Missing::Create
    }

    /// Notes what was made.
    pub(crate) fn note_created(&self, kind: &'static str, name: &str) {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        if created.len() < CREATED_MAX {
            let name = name.to_owned();
            created.push(Created { kind, name });
        }
    }

    pub(crate) fn remember(&self, credentials: Credentials) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS_MAX {
            sessions.pop_front();
        }
        sessions.push_back(credentials);
    }

    /// The credentials with this access key, if they are known.
    pub(crate) fn credentials(&self, access_key: &str) -> Option<Credentials> {
        let own = self.options.credentials.iter();
        if let Some(own) = own.into_iter().find(|own| own.access_key == access_key) {
            return Some(own.clone());
        }
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions
            .iter()
            .rev()
            .find(|session| session.access_key == access_key)
            .cloned()
    }

    /// Reads records, away from the threads that do I/O.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        service: Service,
        read: impl FnOnce(&mut Frames) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let mut frames = Frames::new(self.store.shared().layout.segments());
        let read = tokio::task::spawn_blocking(move || read(&mut frames)).await;
        match read {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(ApiError::internal(service, &error)),
            Err(error) => Err(ApiError::internal(service, &error)),
        }
    }
}

/// The partition of a region.
pub(crate) fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// The folder of the data.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    fn open(wanted: Option<&Path>) -> Result<Self, OpenError> {
        if let Some(path) = wanted {
            let path = path.to_path_buf();
            // Secrets lie in it as they are.
            return match private(&path, true) {
                Ok(()) => Ok(Self {
                    path,
                    is_temporary: false,
                }),
                Err(error) => Err(OpenError::File { path, error }),
            };
        }
        let base = std::env::temp_dir();
        loop {
            let number = RandomState::new().hash_one(std::process::id());
            let path = base.join(format!("firelane-aws-{number:016x}"));
            match private(&path, false) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        is_temporary: true,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(OpenError::File { path, error }),
            }
        }
    }
}

/// Makes a folder that only its owner may enter; with `may_be_there` also those above it, and one that is
/// there stays as it is.
fn private(path: &Path, may_be_there: bool) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(may_be_there);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "a temporary folder stays");
        }
    }
}
