//! Health checks inside the image, which has no shell and no tools: `firelane health`, and just enough of
//! `sh`, `curl` and `nc` for the checks that task definitions have in use
//! (<https://github.com/aws-samples/amazon-ecs-firelens-examples/tree/mainline/examples/fluent-bit/health-check>):
//!
//! ```text
//! ["CMD-SHELL", "curl -f http://127.0.0.1:2020/api/v1/uptime || exit 1"]
//! ["CMD-SHELL", "echo '{\"health\": \"check\"}' | nc 127.0.0.1 8877 || exit 1"]
//! ```
//!
//! Under those names the binary does that and nothing else; what it does not know it refuses by name.

mod shell;

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::exit::Exit;
use crate::{remote, say};

/// Longest time for a connection or an answer, unless the command says otherwise.
const LIMIT: Duration = Duration::from_secs(5);

/// What a small command gave: its exit code and what it printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) code: u8,
    pub(super) out: Vec<u8>,
}

impl Done {
    fn code(code: u8) -> Self {
        Self {
            code,
            out: Vec::new(),
        }
    }

    /// A failure, said on standard error.
    fn failed(code: u8, text: &str) -> Self {
        say::line(text);
        Self::code(code)
    }
}

/// `firelane health`: whether the monitoring server says that all is well.
pub(crate) fn health(url: &str) -> Exit {
    match remote::get(url) {
        Ok(_) => Exit::Ok,
        Err(error) => {
            say::line(&format!("not healthy: {error}"));
            Exit::Failed
        }
    }
}

/// Runs as `sh`, `curl` or `nc`; the exit code.
pub(crate) fn run(name: &str, args: impl Iterator<Item = OsString>) -> u8 {
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let done = match name {
        "sh" => shell::main(&args),
        _ => command(name, &args, &[]),
    };
    say::out(&String::from_utf8_lossy(&done.out));
    done.code
}

/// Runs one simple command with `input`.
fn command(name: &str, args: &[String], input: &[u8]) -> Done {
    match name.rsplit('/').next().unwrap_or(name) {
        "true" | ":" => Done::code(0),
        "false" => Done::code(1),
        "echo" => Done {
            code: 0,
            out: format!("{}\n", args.join(" ")).into_bytes(),
        },
        "curl" => curl(args),
        "nc" => nc(args, input),
        _ => Done::failed(
            127,
            &format!(
                "{name}: not in this image: it has no shell and no tools; for health checks use [\"CMD\", \"/firelane\", \"health\"]"
            ),
        ),
    }
}

/// `curl [-f] [-s] [-S] [-L] [-m SECONDS] [-o FILE] URL`: gets a page over plain HTTP.
fn curl(args: &[String]) -> Done {
    let (mut url, mut fails, mut quiet, mut prints) = (None, false, false, true);
    let mut limit = LIMIT;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "-f" | "--fail" => fails = true,
            "-s" | "--silent" => quiet = true,
            "-S" | "--show-error" | "-L" | "--location" => {}
            "-o" | "--output" => {
                prints = false;
                rest.next();
            }
            "-m" | "--max-time" | "--connect-timeout" => {
                let seconds = rest.next().and_then(|text| text.parse::<f64>().ok());
                match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
                    Some(given) => limit = given,
                    None => return Done::failed(2, &format!("curl: `{arg}` needs seconds")),
                }
            }
            letters
                if letters.len() > 2
                    && letters[1..].chars().all(|c| "fsSL".contains(c))
                    && letters.starts_with('-') =>
            {
                fails |= letters.contains('f');
                quiet |= letters.contains('s');
            }
            option if option.starts_with('-') => {
                return Done::failed(2, &format!("curl: option `{option}` is not in this image"));
            }
            text => url = Some(text),
        }
    }
    let Some(url) = url else {
        return Done::failed(2, "curl: no URL");
    };
    match remote::fetch(url, limit) {
        Ok((status, body)) if !fails || status < 400 => Done {
            code: 0,
            out: if prints { body } else { Vec::new() },
        },
        Ok((status, _)) => {
            if !quiet {
                say::line(&format!("curl: (22) the server answered {status}"));
            }
            Done::code(22)
        }
        Err(error) => {
            if !quiet {
                say::line(&format!("curl: (7) {error}"));
            }
            Done::code(7)
        }
    }
}

/// `nc [-z] [-w SECONDS] HOST PORT`: connects, and sends what it is given.
fn nc(args: &[String], input: &[u8]) -> Done {
    let (mut place, mut limit, mut scans) = (Vec::new(), LIMIT, false);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "-z" => scans = true,
            "-v" | "-n" | "-N" | "-q0" => {}
            "-w" => match rest.next().and_then(|text| text.parse().ok()) {
                Some(seconds) => limit = Duration::from_secs(seconds),
                None => return Done::failed(2, "nc: `-w` needs seconds"),
            },
            option if option.starts_with('-') => {
                return Done::failed(2, &format!("nc: option `{option}` is not in this image"));
            }
            word => place.push(word),
        }
    }
    let [host, port] = place[..] else {
        return Done::failed(2, "nc: use nc HOST PORT");
    };
    let Ok(port) = port.parse::<u16>() else {
        return Done::failed(2, &format!("nc: `{port}` is no port"));
    };
    let input = if scans { &[] } else { input };
    match talk(host, port, input, limit) {
        Ok(out) => Done { code: 0, out },
        Err(error) => Done::failed(1, &format!("nc: {host}:{port}: {error}")),
    }
}

fn talk(host: &str, port: u16, input: &[u8], limit: Duration) -> std::io::Result<Vec<u8>> {
    let mut last = std::io::Error::other("no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(mut stream) => {
                stream.set_write_timeout(Some(limit))?;
                stream.write_all(input)?;
                stream.shutdown(std::net::Shutdown::Write)?;
                // An answer is rare; the peer hangs up, or has nothing to say in time.
                stream.set_read_timeout(Some(limit.min(Duration::from_millis(200))))?;
                let mut out = Vec::new();
                let _ = stream.take(64 << 10).read_to_end(&mut out);
                return Ok(out);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
