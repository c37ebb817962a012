//! TLS settings that follow their files.
//!
//! Certificates are renewed while the process runs: by cert-manager, by a symbolic link that Kubernetes
//! swaps, by a cron job. So before a new connection is set up, at most once per period, the files are looked
//! at (never read unless something changed), outside of the I/O workers. What cannot be used is warned about
//! once, and what was read before stays in use. Connections that exist keep what they began with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::{TlsConfig, TlsError};

/// Shortest time between two looks at the files.
pub const LOOK_PERIOD: Duration = Duration::from_secs(2);
/// Longest time that a connection waits for a look: a file system that hangs must not hold it up.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// A file that changed this shortly before a look may change again within the same tick of its clock.
const YOUNG: Duration = Duration::from_secs(2);

/// Settings made of files, made anew when the files change. Clones share them.
#[derive(Clone)]
pub(super) struct Fresh<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    config: TlsConfig,
    build: fn(&TlsConfig) -> Result<T, TlsError>,
    period: Duration,
    made: Mutex<T>,
    look: Arc<tokio::sync::Mutex<Look>>,
}

/// What the last look saw.
struct Look {
    due: Instant,
    stamps: Vec<Stamp>,
    /// Some file was changed just before.
    young: bool,
    /// What was warned about.
    failure: Option<String>,
}

/// What a look came to.
#[derive(Debug, PartialEq, Eq)]
enum Looked {
    Same,
    New,
    Broken(String),
}

impl<T: Clone + Send + 'static> Fresh<T> {
    /// Reads the files.
    pub(super) fn new(
        config: &TlsConfig,
        period: Duration,
        build: fn(&TlsConfig) -> Result<T, TlsError>,
    ) -> Result<Self, TlsError> {
        // Looked at before they are read: what changes in between shows at the next look.
        let stamps = stamps(config);
        let young = is_young(&stamps);
        let look = Look {
            due: Instant::now() + period,
            stamps,
            young,
            failure: None,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                config: config.clone(),
                build,
                period,
                made: Mutex::new(build(config)?),
                look: Arc::new(tokio::sync::Mutex::new(look)),
            }),
        })
    }

    /// The settings for a new connection.
    ///
    /// # Cancel safety
    /// A look that has begun goes on; its result is for the next connection.
    pub(super) async fn current(&self) -> T {
        // Who comes while another looks takes what there is.
        if let Ok(look) = self.inner.look.clone().try_lock_owned()
            && !look.stamps.is_empty()
            && Instant::now() >= look.due
        {
            let inner = self.inner.clone();
            let looking = tokio::task::spawn_blocking(move || {
                let mut look = look;
                inner.again(&mut look)
            });
            let _ = tokio::time::timeout(LOOK_MAX, looking).await;
        }
        let made = self.inner.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.clone()
    }
}

impl<T> Inner<T> {
    /// Looks at the files and reads them where they changed.
    fn again(&self, look: &mut Look) -> Looked {
        look.due = Instant::now() + self.period;
        let stamps = stamps(&self.config);
        if stamps == look.stamps && !look.young {
            return Looked::Same;
        }
        let changed = stamps != look.stamps;
        look.young = is_young(&stamps);
        look.stamps = stamps;
        match (self.build)(&self.config) {
            Ok(made) => {
                *self.made.lock().unwrap_or_else(PoisonError::into_inner) = made;
                look.failure = None;
                if changed {
                    let files = names(&self.config);
                    tracing::info!(target: "tls", files, "TLS files have changed, new connections use them");
                }
                Looked::New
            }
            Err(error) => {
                let error = error.to_string();
                if look.failure.as_ref() != Some(&error) {
                    tracing::warn!(target: "tls", error,
                        "changed TLS files cannot be used, what was read before stays in use"
                    );
                    look.failure = Some(error.clone());
                }
                Looked::Broken(error)
            }
        }
    }
}

fn files(config: &TlsConfig) -> impl Iterator<Item = &Path> {
    let all = [
        &config.ca_file,
        &config.ca_path,
        &config.crt_file,
        &config.key_file,
    ];
    all.into_iter().flatten().map(PathBuf::as_path)
}

fn names(config: &TlsConfig) -> String {
    let names: Vec<_> = files(config).map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// What tells one state of a file from another. Links are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    /// `None` where there is no file.
    state: Option<State>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    size: u64,
    changed: Option<SystemTime>,
    /// Device, inode, and when its metadata changed.
    #[cfg(unix)]
    node: (u64, u64, i64, i64),
}

fn stamp(path: PathBuf) -> Stamp {
    let state = std::fs::metadata(&path).ok().map(|found| State {
        size: found.len(),
        changed: found.modified().ok(),
        #[cfg(unix)]
        node: {
            use std::os::unix::fs::MetadataExt;
            (found.dev(), found.ino(), found.ctime(), found.ctime_nsec())
        },
    });
    Stamp { path, state }
}

/// The files that are named, and those in folders that are named.
fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    let mut paths: Vec<PathBuf> = files(config).map(Path::to_owned).collect();
    if let Some(folder) = &config.ca_path
        && let Ok(found) = std::fs::read_dir(folder)
    {
        let mut inside: Vec<PathBuf> = found.flatten().map(|entry| entry.path()).collect();
        inside.sort();
        paths.append(&mut inside);
    }
    paths.into_iter().map(stamp).collect()
}

fn is_young(stamps: &[Stamp]) -> bool {
    let now = SystemTime::now();
    let young = |at: SystemTime| now.duration_since(at).map_or(true, |age| age < YOUNG);
    let changes = stamps.iter().filter_map(|stamp| stamp.state.as_ref());
    changes.filter_map(|state| state.changed).any(young)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands for certificates: the file's text, unless it says `bad`.
    fn text(config: &TlsConfig) -> Result<String, TlsError> {
        let path = config.ca_file.clone().unwrap_or_default();
        match std::fs::read_to_string(&path) {
            Ok(text) if text != "bad" => Ok(text),
            _ => Err(TlsError::NoCertificate { path }),
        }
    }

    fn fresh(path: &Path) -> Fresh<String> {
        let config = TlsConfig {
            ca_file: Some(path.to_owned()),
            ..TlsConfig::default()
        };
        Fresh::new(&config, Duration::ZERO, text).unwrap()
    }

    fn look(fresh: &Fresh<String>) -> Looked {
        fresh.inner.again(&mut fresh.inner.look.try_lock().unwrap())
    }

    fn old(path: &Path) {
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(hour_ago).unwrap();
    }

    #[test]
    fn a_broken_file_is_named_and_the_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "one").unwrap();
        let fresh = fresh(&path);
        std::fs::write(&path, "bad").unwrap();
        let Looked::Broken(error) = look(&fresh) else {
            panic!("it was taken");
        };
        assert!(error.contains("ca.pem"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(look(&fresh), Looked::Broken(_)));
        assert_eq!(*fresh.inner.made.lock().unwrap(), "one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(look(&fresh), Looked::New);
        assert_eq!(*fresh.inner.made.lock().unwrap(), "two");
    }

    #[test]
    fn files_that_stay_are_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "one").unwrap();
        old(&path);
        let fresh = fresh(&path);
        assert_eq!((look(&fresh), look(&fresh)), (Looked::Same, Looked::Same));
        std::fs::write(&path, "two").unwrap(); // of the same size
        assert_eq!(look(&fresh), Looked::New);
    }

    #[test]
    fn folders_of_authorities_are_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let config = TlsConfig {
            ca_path: Some(folder.path().to_owned()),
            ..TlsConfig::default()
        };
        let before = stamps(&config);
        std::fs::write(folder.path().join("new.pem"), "x").unwrap();
        assert_eq!((before.len(), stamps(&config).len()), (1, 2));
    }

    #[tokio::test]
    async fn one_look_per_period() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "one").unwrap();
        let config = TlsConfig {
            ca_file: Some(path.clone()),
            ..TlsConfig::default()
        };
        let seldom = Fresh::new(&config, Duration::from_secs(3600), text).unwrap();
        let always = Fresh::new(&config, Duration::ZERO, text).unwrap();
        std::fs::write(&path, "two").unwrap();
        assert_eq!(seldom.current().await, "one");
        assert_eq!(always.current().await, "two");
    }
}
