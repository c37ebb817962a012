//! Fluent Bit's command line, for the binary under the name `fluent-bit`. Options are read in order: `-p`,
//! `-t` and `-m` apply to the latest `-i`, `-F` or `-o`.

use std::path::PathBuf;

use crate::outside::Given;

/// A section made on the command line: the kind, the plugin and its properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliSection {
    /// Input, filter or output.
    pub(crate) kind: CliKind,
    /// Plugin name.
    pub(crate) name: String,
    /// Properties in order.
    pub(crate) properties: Vec<(String, String)>,
}

/// The kind of a section made on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CliKind {
    /// `-i`
    Input,
    /// `-F`
    Filter,
    /// `-o`
    Output,
}

/// What the router is asked to do, by either command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RouterArgs {
    /// Configuration file.
    pub(crate) config: Option<PathBuf>,
    /// Files of parsers.
    pub(crate) parsers: Vec<PathBuf>,
    /// Sections from the command line; they come before those of the file.
    pub(crate) sections: Vec<CliSection>,
    /// Overrides `flush`.
    pub(crate) flush: Option<String>,
    /// Overrides `log_file`.
    pub(crate) log_file: Option<PathBuf>,
    /// Overrides `storage.path`.
    pub(crate) storage_path: Option<String>,
    /// Folder to change to before the configuration is read.
    pub(crate) workdir: Option<PathBuf>,
    /// Turns the monitoring server on.
    pub(crate) http: bool,
    /// Its address.
    pub(crate) http_listen: Option<String>,
    /// Its port.
    pub(crate) http_port: Option<String>,
    /// Turns hot reload on.
    pub(crate) hot_reload: bool,
    /// Steps more of logging.
    pub(crate) verbose: u8,
    /// Errors only, no banner.
    pub(crate) quiet: bool,
    /// Check the configuration and end.
    pub(crate) dry_run: bool,
    /// The user to become; Fluent Bit has no such option, under its name only the variable says it.
    pub(crate) user: Option<String>,
    /// What is known before anything is read.
    pub(crate) given: Given,
    /// Nothing is fetched from outside of this machine.
    pub(crate) offline: bool,
    /// Run under Fluent Bit's name: its exit codes and texts.
    pub(crate) fluent_bit: bool,
    /// What was accepted without effect, with the reason.
    pub(crate) notes: Vec<String>,
}

/// What Fluent Bit's command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Run, or check with `--dry-run`.
    Router(Box<RouterArgs>),
    /// `-V`
    Version,
    /// `-h`
    Help,
    /// `-i NAME -h` and the like: the properties of one plugin.
    PluginHelp(CliKind, String),
    /// Something is wrong with the line.
    Bad(String),
}

/// Options without a value that have one here all the same: the long name and its letter.
const WITH_VALUE: &[(&str, &str)] = &[
    ("--config", "-c"),
    ("--input", "-i"),
    ("--filter", "-F"),
    ("--output", "-o"),
    ("--prop", "-p"),
    ("--match", "-m"),
    ("--tag", "-t"),
    ("--flush", "-f"),
    ("--parser", "-R"),
    ("--plugin", "-e"),
    ("--log_file", "-l"),
    ("--http_listen", "--http_listen"),
    ("--http_port", "-P"),
    ("--port", "-P"),
    ("--storage_path", "-b"),
    ("--workdir", "-w"),
    ("--coro_stack_size", "-s"),
    ("--processor", "-r"),
    ("--custom", "-C"),
    ("--sp-task", "-T"),
];

const FLAGS: &[(&str, &str)] = &[
    ("--dry-run", "-D"),
    ("--daemon", "-d"),
    ("--http", "-H"),
    ("--quiet", "-q"),
    ("--verbose", "-v"),
    ("--version", "-V"),
    ("--help", "-h"),
    ("--enable-hot-reload", "-Y"),
    ("--sosreport", "-S"),
    ("--schema", "-J"),
    ("--disable-thread-safety-on-hot-reload", "-W"),
    ("--supervisor", "--supervisor"),
    ("--trace", "-Z"),
];

/// What `-h` prints.
pub(crate) const HELP: &str = "\
Usage: fluent-bit [OPTION]

Available Options
  -c, --config=FILE        configuration file
  -i, --input=INPUT        an input
  -F, --filter=FILTER      a filter
  -o, --output=OUTPUT      an output
  -p, --prop=\"A=B\"        a property of the latest input, filter or output
  -t, --tag=TAG            the tag of the latest input
  -m, --match=MATCH        the match of the latest filter or output
  -f, --flush=SECONDS      longest wait of a record
  -R, --parser=FILE        a file of parsers
  -e, --plugin=FILE        accepted and not loaded: there is no Go runtime here
  -l, --log_file=FILE      write the log to a file
  -b, --storage_path=PATH  a folder for records
  -w, --workdir=PATH       change to a folder first
  -H, --http               turn the monitoring server on
      --http_listen=HOST   its address
  -P, --port=PORT          its port
  -Y, --enable-hot-reload  take reload requests
  -D, --dry-run            check the configuration and end
  -v, --verbose            log more; repeatable
  -q, --quiet              log errors only
  -V, --version            the version
  -h, --help               this text; behind -i, -F or -o the plugin's properties
";

/// Reads Fluent Bit's command line, without the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Request {
    let mut reader = Reader::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if let Some(end) = reader.take(&arg, &mut args) {
            return end;
        }
    }
    reader.args.fluent_bit = true;
    Request::Router(Box::new(reader.args))
}

#[derive(Default)]
struct Reader {
    args: RouterArgs,
}

impl Reader {
    /// Takes one argument; `Some` when it ends the reading.
    fn take(&mut self, arg: &str, rest: &mut impl Iterator<Item = String>) -> Option<Request> {
        let (name, mut inline) = split(arg);
        let flag = FLAGS.iter().find(|(long, short)| *long == name || *short == name);
        if let (Some((_, short)), None) = (flag, &inline) {
            return self.flag(short);
        }
        let Some((_, short)) = WITH_VALUE
            .iter()
            .find(|(long, short)| *long == name || *short == name)
        else {
            // Letters may be joined: `-qv`.
            let joined = arg
                .strip_prefix('-')
                .filter(|letters| !letters.starts_with('-') && letters.len() > 1);
            let Some(joined) = joined else {
                return Some(bad(arg));
            };
            let letters: Vec<String> = joined.chars().map(|letter| format!("-{letter}")).collect();
            let known = |letter: &String| FLAGS.iter().any(|(_, short)| short == letter);
            if !letters.iter().all(known) {
                return Some(bad(arg));
            }
            return letters.iter().find_map(|letter| self.flag(letter));
        };
        let Some(value) = inline.take().or_else(|| rest.next()) else {
            return Some(Request::Bad(format!("option `{arg}` needs a value")));
        };
        self.value(short, value)
    }

    fn flag(&mut self, short: &str) -> Option<Request> {
        let args = &mut self.args;
        match short {
            "-D" => args.dry_run = true,
            "-H" => args.http = true,
            "-q" => args.quiet = true,
            "-v" => args.verbose = args.verbose.saturating_add(1),
            "-Y" => args.hot_reload = true,
            "-V" => return Some(Request::Version),
            "-h" => {
                return Some(match args.sections.last() {
                    Some(section) => Request::PluginHelp(section.kind, section.name.clone()),
                    None => Request::Help,
                });
            }
            "-d" => args
                .notes
                .push("`-d`: not run in the background; let the supervisor of the container do that".into()),
            "-W" => args
                .notes
                .push("`-W`: hot reload needs no thread-safety switch here".into()),
            other => {
                return Some(Request::Bad(format!(
                    "option `{other}` of Fluent Bit is not supported"
                )));
            }
        }
        None
    }

    fn value(&mut self, short: &str, value: String) -> Option<Request> {
        let args = &mut self.args;
        match short {
            "-c" => args.config = Some(value.into()),
            "-R" => args.parsers.push(value.into()),
            "-f" => args.flush = Some(value),
            "-l" => args.log_file = Some(value.into()),
            "-b" => args.storage_path = Some(value),
            "-w" => args.workdir = Some(value.into()),
            "-P" => (args.http, args.http_port) = (true, Some(value)),
            "--http_listen" => (args.http, args.http_listen) = (true, Some(value)),
            "-e" => args.notes.push(plugin_note(&value)),
            "-s" => args.notes.push("`-s`: there are no coroutine stacks here".into()),
            "-i" => self.section(CliKind::Input, value),
            "-F" => self.section(CliKind::Filter, value),
            "-o" => self.section(CliKind::Output, value),
            "-p" => return self.property(&value),
            "-t" => return self.set("tag", value),
            "-m" => return self.set("match", value),
            other => {
                return Some(Request::Bad(format!(
                    "option `{other}` of Fluent Bit is not supported"
                )));
            }
        }
        None
    }

    fn section(&mut self, kind: CliKind, name: String) {
        self.args.sections.push(CliSection {
            kind,
            name,
            properties: Vec::new(),
        });
    }

    fn property(&mut self, text: &str) -> Option<Request> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => self.set(key, value.to_string()),
            _ => Some(Request::Bad(format!("`-p {text}` is not of the form key=value"))),
        }
    }

    fn set(&mut self, key: &str, value: String) -> Option<Request> {
        match self.args.sections.last_mut() {
            Some(section) => {
                section
                    .properties
                    .push((key.trim().to_string(), value.trim().to_string()));
                None
            }
            None => Some(Request::Bad(format!("`{key}` is given before any -i, -F or -o"))),
        }
    }
}

/// `--name=value` in two.
fn split(arg: &str) -> (&str, Option<String>) {
    match arg.split_once('=') {
        Some((name, value)) if name.starts_with("--") => (name, Some(value.to_string())),
        _ => (arg, None),
    }
}

fn bad(arg: &str) -> Request {
    Request::Bad(format!("unknown option `{arg}`"))
}

fn plugin_note(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    match file {
        "cloudwatch.so" | "firehose.so" | "kinesis.so" => {
            format!("`-e {path}`: not loaded, and not needed: the output of that name is built in")
        }
        _ => format!(
            "`-e {path}`: shared objects are not loaded; a plugin that only it has will be named as missing"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(line: &str) -> RouterArgs {
        match parse(line.split_whitespace().map(String::from)) {
            Request::Router(args) => *args,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_image_command_is_taken() {
        let args = router("-e /fluent-bit/firehose.so -e kinesis.so -c /fluent-bit/etc/fluent-bit.conf");
        assert_eq!(args.config, Some("/fluent-bit/etc/fluent-bit.conf".into()));
        assert_eq!(args.notes.len(), 2);
        assert!(args.fluent_bit);
    }

    #[test]
    fn properties_belong_to_the_latest_section() {
        let args =
            router("-i dummy -p rate=2 -t app -F grep -m * -p regex=log=x -o stdout -m app -f 0.5 -qv");
        let want = |kind, name: &str, properties: &[(&str, &str)]| CliSection {
            kind,
            name: name.into(),
            properties: properties
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
        };
        let sections = [
            want(CliKind::Input, "dummy", &[("rate", "2"), ("tag", "app")]),
            want(CliKind::Filter, "grep", &[("match", "*"), ("regex", "log=x")]),
            want(CliKind::Output, "stdout", &[("match", "app")]),
        ];
        assert_eq!(args.sections, sections);
        assert_eq!(
            (args.flush.as_deref(), args.quiet, args.verbose),
            (Some("0.5"), true, 1)
        );
    }

    #[test]
    fn bad_lines_are_named() {
        let bad = |line: &str| match parse(line.split_whitespace().map(String::from)) {
            Request::Bad(text) => text,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(bad("--nonsense"), "unknown option `--nonsense`");
        assert_eq!(bad("-c"), "option `-c` needs a value");
        assert_eq!(bad("-p a=b"), "`a` is given before any -i, -F or -o");
        assert_eq!(
            bad("-i dummy -p broken"),
            "`-p broken` is not of the form key=value"
        );
    }

    #[test]
    fn help_and_version() {
        assert_eq!(parse(["--version".to_string()]), Request::Version);
        let help = parse(["-o", "http", "-h"].map(String::from));
        assert_eq!(help, Request::PluginHelp(CliKind::Output, "http".into()));
    }
}
