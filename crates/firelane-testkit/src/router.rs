//! A router under test: a process in a folder of its own, stopped and searched when the test ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http;
use crate::ledger::Ledgers;

/// Longest that a start, or the end after a signal, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is started.
#[derive(Debug)]
pub struct RouterBuilder {
    binary: PathBuf,
    folder: TempDir,
    fluent_bit: bool,
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// A command that runs the binary as its last arguments.
    wrapper: Vec<String>,
    stdin: Option<Stdio>,
}

impl RouterBuilder {
    /// A router of this binary, in an empty folder.
    ///
    /// # Panics
    /// If no folder can be made.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("firelane-e2e-")
            .tempdir()
            .expect("a temporary folder");
        Self::in_folder(binary, folder)
    }

    /// A router of this binary in the folder that an earlier one left.
    pub fn in_folder(binary: impl Into<PathBuf>, folder: TempDir) -> Self {
        Self {
            binary: binary.into(),
            folder,
            fluent_bit: false,
            args: Vec::new(),
            env: Vec::new(),
            wrapper: Vec::new(),
            stdin: None,
        }
    }

    /// Lets this command run the binary, which follows with its arguments; it must replace itself by it.
    pub fn wrapped(mut self, command: &[&str]) -> Self {
        self.wrapper = command.iter().map(ToString::to_string).collect();
        self
    }

    /// Gives it a standard input; else it has an empty one.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Calls the binary by the name `fluent-bit`.
    pub fn as_fluent_bit(mut self) -> Self {
        self.fluent_bit = true;
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Sets a variable; the router sees nothing else of this process's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Writes a file into the folder; `{dir}` in the text becomes the folder's path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder for the file");
        fs::write(
            path,
            text.replace("{dir}", &self.folder.path().display().to_string()),
        )
        .expect("a written file");
        self
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Starts `router -c router.conf` with this text and waits until it is ready: the forward socket
    /// `in.sock` of the folder, if the text names one, else its first listening `Port`, takes connections.
    ///
    /// # Panics
    /// With what the router said, if it is not ready in time.
    #[track_caller]
    pub fn start(self, conf: &str) -> Router {
        let conf = conf.replace("{dir}", &self.folder.path().display().to_string());
        let this = self.file("router.conf", &conf);
        let mut this = if this.fluent_bit {
            this
        } else {
            this.args(&["router"])
        };
        this.args.extend(["-c".into(), "router.conf".into()]);
        let mut router = this.spawn();
        router.wait_ready(&conf);
        router
    }

    /// Starts the process with the arguments given and waits for nothing.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn spawn(self) -> Router {
        let mut binary = self.binary.clone();
        if self.fluent_bit {
            binary = self.folder.path().join("fluent-bit");
            symlink(&self.binary, &binary).expect("a link called fluent-bit");
        }
        let out =
            |name: &str| fs::File::create(self.folder.path().join(name)).expect("a file for what it says");
        let mut words = self
            .wrapper
            .iter()
            .map(Into::into)
            .chain([binary.clone().into_os_string()]);
        let child = Command::new(words.next().expect("the binary"))
            .args(words)
            .args(&self.args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TZ", "UTC")
            .envs(
                self.env
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            )
            .stdin(self.stdin.unwrap_or_else(Stdio::null))
            .stdout(out("stdout.txt"))
            .stderr(out("stderr.txt"))
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", binary.display()));
        Router {
            child,
            folder: self.folder,
        }
    }

    /// Runs the process to its end.
    ///
    /// # Panics
    /// If it does not end by itself.
    #[track_caller]
    pub fn run(self) -> Ended {
        self.spawn().wait_end()
    }
}

/// A running router. Dropped, it is killed.
#[derive(Debug)]
pub struct Router {
    child: Child,
    folder: TempDir,
}

/// A router that ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code, or none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error: the log.
    pub stderr: String,
    /// From the signal, or from the wait's start, to the end.
    pub took: Duration,
    folder: TempDir,
}

impl Ended {
    /// The ledgers, which balance.
    ///
    /// # Panics
    /// If they are missing or do not balance.
    #[track_caller]
    pub fn ledgers(&self) -> Ledgers {
        Ledgers::read(&self.stderr)
    }

    /// A file that it left.
    ///
    /// # Panics
    /// If it is not there.
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.folder.path().join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), self.stderr))
    }

    /// Its folder, for the next router.
    pub fn into_folder(self) -> TempDir {
        self.folder
    }

    /// Standard error with the folder's path taken out, for snapshots.
    pub fn plain_stderr(&self) -> String {
        self.stderr
            .replace(&self.folder.path().display().to_string(), "[dir]")
    }
}

impl Router {
    /// The folder.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read(self.path("stderr.txt"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Writes a file of the folder anew; `{dir}` as in [`RouterBuilder::file`].
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let text = text.replace("{dir}", &self.folder.path().display().to_string());
        fs::write(self.path(name), text).expect("a written file");
    }

    #[track_caller]
    fn wait_ready(&mut self, conf: &str) {
        let start = Instant::now();
        let socket = conf.contains("in.sock").then(|| self.path("in.sock"));
        let port = listening_port(conf);
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!(
                    "the router ended with {status} before it was ready:\n{}",
                    self.log()
                );
            }
            let ready = match (&socket, port) {
                (Some(path), _) => UnixStream::connect(path).is_ok(),
                (None, Some(port)) => std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
                (None, None) => return,
            };
            if ready {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "not ready after {PATIENCE:?}:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it as it stands (SIGKILL); gives its log and its folder, for the next router.
    ///
    /// # Panics
    /// If the process cannot be waited for.
    #[track_caller]
    pub fn kill(mut self) -> (String, TempDir) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        self.child.wait().expect("a child");
        let log = self.log();
        (log, self.take_folder())
    }

    /// Leaves an empty folder in the place of its own.
    fn take_folder(&mut self) -> TempDir {
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"))
    }

    /// Resident memory in bytes, now and at its highest.
    ///
    /// # Panics
    /// If the process is gone.
    #[track_caller]
    pub fn memory(&self) -> (u64, u64) {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running router");
        let field = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default();
            line.split_whitespace()
                .next()
                .and_then(|n| n.parse::<u64>().ok())
                .unwrap_or(0)
                * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a running router");
    }

    /// Sends SIGHUP: read the configuration again.
    ///
    /// # Panics
    /// If the process is gone.
    #[track_caller]
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGTERM without waiting for the end.
    ///
    /// # Panics
    /// If the process is gone.
    #[track_caller]
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// If it does not end in time, or a signal ended it.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.terminate();
        self.wait_end()
    }

    /// Waits until the process ends.
    ///
    /// # Panics
    /// If it does not in time, or a signal ended it.
    #[track_caller]
    pub fn wait_end(mut self) -> Ended {
        let start = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "it still runs after {PATIENCE:?}:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(2));
        };
        let took = start.elapsed();
        let read =
            |name: &str| String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned();
        let (stdout, stderr) = (read("stdout.txt"), read("stderr.txt"));
        assert!(status.code().is_some(), "it ended by {status}:\n{stderr}");
        let folder = self.take_folder();
        Ended {
            code: status.code(),
            stdout,
            stderr,
            took,
            folder,
        }
    }

    /// Sum of a Prometheus series of `/api/v2/metrics/prometheus` over its labels, if they hold `label`.
    ///
    /// # Panics
    /// If the monitoring server does not answer.
    #[track_caller]
    pub fn metric(&self, port: u16, name: &str, label: &str) -> f64 {
        let reply = http::get(port, "/api/v2/metrics/prometheus").expect("the monitoring server");
        let text = reply.text();
        let series = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
                && line.contains(label)
        });
        series
            .filter_map(|line| line.rsplit_once("} ").map_or(line.split_once(' '), Some))
            .filter_map(|(_, value)| value.split(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // It has ended already, or its test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first `Port` of an `[INPUT]` section.
fn listening_port(conf: &str) -> Option<u16> {
    let mut in_input = false;
    for line in conf.lines().map(str::trim) {
        if line.starts_with('[') {
            in_input = line.eq_ignore_ascii_case("[input]");
        }
        let mut words = line.split_whitespace();
        if in_input && words.next().is_some_and(|key| key.eq_ignore_ascii_case("port")) {
            return words.next()?.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_an_input_is_found() {
        let conf = "[OUTPUT]\n    Port 1\n[INPUT]\n    Name forward\n    port 24224\n";
        assert_eq!(listening_port(conf), Some(24224));
        assert_eq!(listening_port("[OUTPUT]\n    Port 1\n"), None);
    }

    #[test]
    fn a_process_runs_to_its_end() {
        let ended = RouterBuilder::new("/bin/sh")
            .args(&["-c", "echo out; echo in $PWD >&2; exit 3"])
            .run();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), "out\n"));
        assert_eq!(ended.plain_stderr(), "in [dir]\n");
    }

    #[test]
    fn a_signal_reaches_the_process() {
        let script = "trap 'exit 7' TERM; echo up >&2; while :; do sleep 0.01; done";
        let router = RouterBuilder::new("/bin/sh").args(&["-c", script]).spawn();
        crate::wait::until("the shell", PATIENCE, || {
            router.log().contains("up").then_some(())
        });
        assert!(router.memory().0 > 0);
        assert_eq!(router.stop().code, Some(7));
    }
}
