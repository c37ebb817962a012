//! The properties of `tail` and what they come to.

use std::time::Duration;

use firelane_conf::units::{ByteSize, CommaList, Interval, OnOff};
use firelane_conf::{Class, Diagnostic};
use firelane_core::{BuildCx, Input, InputConfig};
use firelane_parse::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Tail;
use super::follow::Settings;
use super::form::Form;
use super::lines::LongLines;
use super::positions::DbOptions;

/// Properties of `[INPUT] Name tail`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Config {
    /// Files to follow: paths or globs (`*`, `?`, `[a-z]`), separated by commas.
    path: CommaList,
    /// Files not to follow: globs, separated by commas.
    exclude_path: CommaList,
    /// Seconds between two searches for new files (60).
    refresh_interval: Option<Interval>,
    /// Read files that are there at the start from their beginning (off). A position in the database counts
    /// more.
    read_from_head: Option<OnOff>,
    /// Read files that appear later from their beginning (on).
    read_newly_discovered_files_from_head: Option<OnOff>,
    /// The field of the line (`log`).
    key: Option<String>,
    /// The field for the file's path; absent: none.
    path_key: Option<String>,
    /// The field for the offset of the line in the file; absent: none.
    offset_key: Option<String>,
    /// Named groups over the path that stand for `<name>` in the tag.
    tag_regex: Option<String>,
    /// Name of the parser for the lines. A line that does not parse goes on as it is.
    parser: Option<String>,
    /// Skip lines without any text (off).
    skip_empty_lines: Option<OnOff>,
    /// Skip lines over `buffer_max_size`; absent or off: they go on in pieces, marked `partial_message`.
    skip_long_lines: Option<OnOff>,
    /// Cut lines over `buffer_max_size` (off).
    truncate_long_lines: Option<OnOff>,
    /// Longest line that is kept whole (32 KiB).
    buffer_max_size: Option<ByteSize>,
    /// Size of a first buffer in Fluent Bit; here it only raises `buffer_max_size` to itself.
    buffer_chunk_size: Option<ByteSize>,
    /// Bytes that a file may give before the next one's turn while it is being caught up with (50M).
    static_batch_size: Option<ByteSize>,
    /// The same once its end was reached (50M).
    event_batch_size: Option<ByteSize>,
    /// Seconds that a renamed or deleted file is followed on (5).
    rotate_wait: Option<Interval>,
    /// Files not changed for so long are not taken up; absent: all are.
    ignore_older: Option<Interval>,
    /// Stop reading files that `ignore_older` would not take up any more (off).
    ignore_active_older_files: Option<OnOff>,
    /// End the whole process when all files were read to their ends (off).
    exit_on_eof: Option<OnOff>,
    /// SQLite database for the positions, as Fluent Bit's. Absent: a restart forgets them.
    db: Option<String>,
    /// How hard the database is synced.
    #[serde(rename = "db.sync")]
    db_sync: Sync,
    /// Lock the database for this process alone (off).
    #[serde(rename = "db.locking")]
    db_locking: Option<OnOff>,
    /// SQLite's journal mode.
    #[serde(rename = "db.journal_mode")]
    db_journal_mode: JournalMode,
    /// A position counts only for the same inode under the same name (off).
    #[serde(rename = "db.compare_filename")]
    db_compare_filename: Option<OnOff>,
    /// Not taken yet: joins lines by named multiline parsers.
    #[serde(rename = "multiline.parser")]
    multiline_parser: Option<String>,
    /// Not taken yet, only off: the older way to join lines.
    multiline: Option<OnOff>,
    /// Not taken yet: part of `multiline`.
    multiline_flush: Option<String>,
    /// Not taken yet: part of `multiline`.
    parser_firstline: Option<String>,
    /// Not taken yet, only off: joins Docker's JSON lines.
    docker_mode: Option<OnOff>,
    /// Not taken yet: part of `docker_mode`.
    docker_mode_flush: Option<String>,
    /// Not taken yet: part of `docker_mode`.
    docker_mode_parser: Option<String>,
    /// Not taken: lines are bytes, whatever their encoding.
    #[serde(rename = "unicode.encoding")]
    unicode_encoding: Option<String>,
    /// Not taken: lines are bytes, whatever their encoding.
    #[serde(rename = "generic.encoding")]
    generic_encoding: Option<String>,
    /// Without effect: files are looked at every 20 to 250 ms, which needs no inotify.
    inotify_watcher: Option<OnOff>,
    /// Without effect: as `inotify_watcher`.
    watcher_interval: Option<String>,
    /// Without effect: as `inotify_watcher`.
    progress_check_interval: Option<String>,
    /// Without effect: as `inotify_watcher`.
    progress_check_interval_nsec: Option<String>,
    /// Without effect: the system decides what it keeps in its cache.
    file_cache_advise: Option<OnOff>,
}

/// SQLite's `synchronous`.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Sync {
    /// Survives the end of the process, and of the system where the journal is WAL.
    #[default]
    Normal,
    /// Left to the system.
    Off,
    /// At each commit.
    Full,
    /// At each commit, the folder too.
    Extra,
}

/// SQLite's `journal_mode`.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum JournalMode {
    /// A log beside the database.
    #[default]
    Wal,
    /// A journal file that is deleted.
    Delete,
    /// A journal file that is emptied.
    Truncate,
    /// A journal file that stays.
    Persist,
    /// A journal in memory.
    Memory,
    /// None.
    Off,
}

/// Properties that only mean something with one that is not taken yet, or nothing at all here.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("multiline_flush", "it belongs to `multiline`, which is off"),
    ("parser_firstline", "it belongs to `multiline`, which is off"),
    ("docker_mode_flush", "it belongs to `docker_mode`, which is off"),
    ("docker_mode_parser", "it belongs to `docker_mode`, which is off"),
    (
        "inotify_watcher",
        "files are looked at every 20 to 250 ms, without inotify",
    ),
    ("watcher_interval", "files are looked at every 20 to 250 ms"),
    (
        "progress_check_interval",
        "files are looked at every 20 to 250 ms",
    ),
    (
        "progress_check_interval_nsec",
        "files are looked at every 20 to 250 ms",
    ),
    (
        "file_cache_advise",
        "the system decides what it keeps in its cache",
    ),
];

const LINE_MAX: usize = 32 * 1024;
const TURN_BYTES: u64 = 50_000_000;

impl InputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Box<dyn Input>, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        self.refuse(cx, &mut errors);
        for (key, reason) in WITHOUT_EFFECT {
            if let Some(entry) = cx.section.get(key) {
                let text = format!("`{}` has no effect: {reason}", entry.key.value);
                cx.warnings
                    .push(Diagnostic::warning("FL0455", text).at(entry.key.span));
            }
        }
        let tag_regex = self
            .tag_regex
            .as_deref()
            .and_then(|pattern| match Regex::new(pattern) {
                Ok(regex) => Some(regex),
                Err(error) => {
                    let text = format!("invalid regular expression `{pattern}`: {error}");
                    errors.push(at(cx, "tag_regex", "FL0351", text));
                    None
                }
            });
        let form = self.form(cx);
        let settings = self.settings(cx, &mut errors);
        if errors.is_empty() {
            Ok(Box::new(Tail {
                settings,
                form,
                tag_regex,
                positions: None,
            }))
        } else {
            Err(errors)
        }
    }
}

/// An error at the value of a property.
fn at(cx: &BuildCx<'_>, key: &str, code: &'static str, text: impl Into<String>) -> Diagnostic {
    let span = cx
        .section
        .get(key)
        .map_or(cx.section.span, |entry| entry.value.span);
    Diagnostic::error(code, Class::BadValue, text.into()).at(span)
}

fn is_on(given: Option<OnOff>, default: bool) -> bool {
    given.map_or(default, bool::from)
}

impl Config {
    /// What would change the records silently if it were left out.
    fn refuse(&self, cx: &BuildCx<'_>, errors: &mut Vec<Diagnostic>) {
        let refused = [
            (
                "multiline.parser",
                self.multiline_parser.is_some(),
                "lines are not joined at the source yet",
            ),
            (
                "multiline",
                is_on(self.multiline, false),
                "lines are not joined at the source yet",
            ),
            (
                "docker_mode",
                is_on(self.docker_mode, false),
                "Docker's JSON lines are not joined at the source yet",
            ),
            (
                "unicode.encoding",
                self.unicode_encoding.is_some(),
                "lines are taken as the bytes that they are",
            ),
            (
                "generic.encoding",
                self.generic_encoding.is_some(),
                "lines are taken as the bytes that they are",
            ),
        ];
        for (key, given, reason) in refused {
            if given {
                errors.push(at(
                    cx,
                    key,
                    "FL0354",
                    format!("`{key}` is not supported by `tail`: {reason}"),
                ));
            }
        }
        if self.path.0.is_empty() {
            let error = Diagnostic::error("FL0350", Class::Init, "`path` is missing: the files to follow");
            errors.push(
                error
                    .at(cx.section.span)
                    .help("for example `path /var/log/app/*.log`"),
            );
        }
    }

    fn form(&self, cx: &BuildCx<'_>) -> Form {
        let parser = self.parser.as_deref().map(str::trim).and_then(|name| {
            let parser = cx.parsers.get(name);
            if parser.is_none() {
                let span = cx
                    .section
                    .get("parser")
                    .map_or(cx.section.span, |entry| entry.value.span);
                let text = format!("parser '{name}' is not registered: lines go on as they are");
                cx.warnings.push(Diagnostic::warning("FL0452", text).at(span));
            }
            parser
        });
        let bytes = |text: &String| text.clone().into_bytes();
        Form {
            key: self.key.as_ref().map_or_else(|| b"log".to_vec(), bytes),
            path_key: self.path_key.as_ref().map(bytes),
            offset_key: self.offset_key.as_ref().map(bytes),
            parser,
            skip_empty: is_on(self.skip_empty_lines, false),
        }
    }

    fn settings(&self, cx: &BuildCx<'_>, errors: &mut Vec<Diagnostic>) -> Settings {
        let mut glob = |key: &str, text: &str| {
            let pattern = glob::Pattern::new(text);
            pattern
                .map_err(|error| errors.push(at(cx, key, "FL0353", format!("bad pattern `{text}`: {error}"))))
                .ok()
        };
        let patterns = self.path.0.clone();
        for pattern in &patterns {
            glob("path", pattern);
        }
        let exclude = self
            .exclude_path
            .0
            .iter()
            .filter_map(|text| glob("exclude_path", text))
            .collect();
        let size = |given: Option<ByteSize>| given.map(|size| usize::try_from(size.0).unwrap_or(usize::MAX));
        let turn = |given: Option<ByteSize>| given.map_or(TURN_BYTES, |size| size.0).max(1);
        let line_max = size(self.buffer_max_size)
            .unwrap_or(LINE_MAX)
            .max(size(self.buffer_chunk_size).unwrap_or(0));
        let seconds = |given: Option<Interval>| given.map(Duration::from);
        Settings {
            patterns,
            exclude,
            refresh: self.refresh(cx, errors),
            from_head: is_on(self.read_from_head, false),
            new_from_head: is_on(self.read_newly_discovered_files_from_head, true),
            rotate_wait: seconds(self.rotate_wait).unwrap_or(Duration::from_secs(5)),
            ignore_older: seconds(self.ignore_older).filter(|limit| !limit.is_zero()),
            ignore_active_older: is_on(self.ignore_active_older_files, false),
            // Fluent Bit's buffer of this size holds the line end and a zero too.
            line_max: line_max.saturating_sub(1).max(1),
            long: match (
                is_on(self.truncate_long_lines, false),
                is_on(self.skip_long_lines, false),
            ) {
                (true, _) => LongLines::Truncate,
                (false, true) => LongLines::Skip,
                (false, false) => LongLines::Split,
            },
            turn_bytes: (turn(self.static_batch_size), turn(self.event_batch_size)),
            exit_on_eof: is_on(self.exit_on_eof, false),
            db: self.db.as_ref().map(|path| (path.into(), self.db_options())),
        }
    }

    fn refresh(&self, cx: &BuildCx<'_>, errors: &mut Vec<Diagnostic>) -> Duration {
        let interval = self
            .refresh_interval
            .map_or(Duration::from_secs(60), Duration::from);
        if interval.is_zero() {
            errors.push(at(
                cx,
                "refresh_interval",
                "FL0356",
                "`refresh_interval` must be above 0",
            ));
        }
        interval
    }

    fn db_options(&self) -> DbOptions {
        DbOptions {
            sync: match self.db_sync {
                Sync::Normal => "NORMAL",
                Sync::Off => "OFF",
                Sync::Full => "FULL",
                Sync::Extra => "EXTRA",
            },
            journal_mode: match self.db_journal_mode {
                JournalMode::Wal => "WAL",
                JournalMode::Delete => "DELETE",
                JournalMode::Truncate => "TRUNCATE",
                JournalMode::Persist => "PERSIST",
                JournalMode::Memory => "MEMORY",
                JournalMode::Off => "OFF",
            },
            locking: is_on(self.db_locking, false),
            compare_filename: is_on(self.db_compare_filename, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use firelane_conf::{Section, SectionKind, Span};
    use firelane_core::Service;
    use firelane_core::plugin::Warnings;
    use firelane_parse::Parsers;

    use super::*;

    /// The texts of the errors, or of the warnings, that lines of `key value` lead to.
    fn build(conf: &str) -> Result<Vec<String>, Vec<String>> {
        let mut section = Section::new(SectionKind::Input, Span::default());
        for line in conf.lines() {
            let (key, value) = line.split_once(' ').unwrap();
            section.push(key, value, Span::default());
        }
        let network = Section::new(SectionKind::Input, Span::default());
        let (parsers, service, warnings) =
            (Arc::<Parsers>::default(), Service::default(), Warnings::default());
        let cx = BuildCx {
            instance: "tail.0",
            section: &section,
            network: &network,
            workers: None,
            parsers: &parsers,
            service: &service,
            warnings: &warnings,
        };
        let texts = |list: Vec<Diagnostic>| list.into_iter().map(|each| each.message).collect();
        let built = super::super::PLUGIN.build(&section, &cx);
        built.map(|_| texts(warnings.take())).map_err(texts)
    }

    #[track_caller]
    fn warns(conf: &str, want: &[&str]) {
        assert_eq!(
            build(conf),
            Ok(want.iter().map(|text| (*text).to_owned()).collect()),
            "{conf}"
        );
    }

    #[track_caller]
    fn fails(conf: &str, want: &[&str]) {
        assert_eq!(
            build(conf),
            Err(want.iter().map(|text| (*text).to_owned()).collect()),
            "{conf}"
        );
    }

    #[test]
    fn the_configurations_of_firelens_are_taken() {
        let ecs = "path data/service.log*\nexclude_path data/*.gz\ndb flb.db\ndb.locking true\nskip_long_lines On\n\
                   refresh_interval 10\nrotate_wait 30\nread_from_head On";
        warns(ecs, &[]);
        warns(
            "path a.log\nrefresh_interval 30.5\nbuffer_max_size 5M\ndb.sync FULL\ndocker_mode off",
            &[],
        );
    }

    #[test]
    fn what_is_not_there_is_said() {
        warns(
            "path a.log\nparser nope\ninotify_watcher false",
            &[
                "`inotify_watcher` has no effect: files are looked at every 20 to 250 ms, without inotify",
                "parser 'nope' is not registered: lines go on as they are",
            ],
        );
        fails(
            "multiline.parser cri\ndocker_mode on",
            &[
                "`multiline.parser` is not supported by `tail`: lines are not joined at the source yet",
                "`docker_mode` is not supported by `tail`: Docker's JSON lines are not joined at the source yet",
                "`path` is missing: the files to follow",
            ],
        );
    }

    #[test]
    fn mistakes_stop_the_start() {
        fails(
            "path a.log\nrefresh_interval 0",
            &["`refresh_interval` must be above 0"],
        );
        let journal = "`x` is not one of wal, delete, truncate, persist, memory, off";
        fails(
            "path a.log\ndb.journal_mode x",
            &[&format!(
                "invalid value for property 'db.journal_mode': {journal}"
            )],
        );
        let errors = build("path a[.log\ntag_regex (").unwrap_err();
        assert!(
            errors[0].starts_with("invalid regular expression `(`"),
            "{errors:?}"
        );
        assert!(errors[1].starts_with("bad pattern `a[.log`"), "{errors:?}");
    }
}
