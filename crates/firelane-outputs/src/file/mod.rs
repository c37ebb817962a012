//! `file`: records as lines of files, one named file or one per tag.
//!
//! A chunk is one append; a line looks as `format` says, by default `tag: [secs.nanos, {json}]`. File names
//! made of tags never leave `path`. Rotating by others (logrotate) is followed at the next chunk.
//!
//! On failure (no folder, no permission, a full disk) the chunk is tried again, and what a write left behind
//! is cut off first, so nothing is in the file twice. Where that cannot be (a pipe, another process appended
//! meanwhile) only the records that are not whole in it are written again. A write that hangs holds up this
//! output alone; it is not repeated, as it may still succeed.
//!
//! Deliberately not here: rotation of its own, names made of dates or record fields (refused by name), fsync.

mod encode;
mod name;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use firelane_conf::Diagnostic;
use firelane_conf::units::{ByteSize, OnOff};
use firelane_core::{
    BoxFuture, BuildCx, Cause, CauseKind, Chunk, DeliverCx, GroupBy, Limits, Outcome, Output, OutputConfig,
    OutputPlugin, Stability,
};
use firelane_record::set::RecordSet;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::plain_json;
use crate::settings::{refuse, serial, warn};
use encode::{Form, Lines, pieces};
use write::WriteError;

/// `[OUTPUT] Name file`
pub static PLUGIN: OutputPlugin =
    OutputPlugin::new::<Config>("file", "appends records to files", Stability::Beta);

/// Properties of `[OUTPUT] Name file`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Folder of the files; relative to the working directory.
    path: Option<String>,
    /// Name of the file; the tag where absent.
    file: Option<String>,
    /// `out_file` (default: `tag: [time, {json}]`), `plain`, `csv`, `ltsv`, `template` or `msgpack`.
    format: Option<String>,
    /// Between fields of csv (default a comma) and ltsv (default a tab): `\t`, `tab`, `space`, `comma` or the
    /// text.
    delimiter: Option<String>,
    /// Between key and value of ltsv. Default `:`.
    label_delimiter: Option<String>,
    /// Line of the format `template`: `{key}` is the field, `{time}` the time. Default `{time} {message}`.
    template: Option<String>,
    /// csv: begin a new file with the names of the first record's fields. Default off.
    csv_column_names: Option<OnOff>,
    /// Create missing folders. Default off.
    mkdir: Option<OnOff>,
    /// Not supported: dates in names.
    enable_strftime: Option<OnOff>,
    /// Goes with names made of dates and fields.
    max_dynamic_files: Option<i64>,
    /// Goes with names made of dates and fields.
    on_missing_field: Option<String>,
    /// Goes with names made of dates and fields.
    on_limit_reached: Option<String>,
    /// Goes with names made of dates and fields.
    fallback_path: Option<String>,
    /// Goes with names made of dates and fields.
    fallback_file: Option<String>,
    /// Not supported: rotate with logrotate, which is followed.
    rotate: Option<OnOff>,
    /// Goes with `rotate`.
    rotate_max_size: Option<ByteSize>,
    /// Goes with `rotate`.
    rotate_max_files: Option<i64>,
    /// Goes with `rotate`.
    rotate_gzip: Option<OnOff>,
}

fn is_on(given: Option<OnOff>) -> bool {
    given.is_some_and(bool::from)
}

impl OutputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        self.waiting(cx, &mut errors);
        let form = self.form(cx).map_err(|error| errors.push(error));
        let (Ok(form), true) = (form, errors.is_empty()) else {
            return Err(errors);
        };
        let folder = PathBuf::from(self.path.unwrap_or_default());
        let job = Job {
            fixed: self.file.map(|file| folder.join(file)),
            folder,
            mkdir: is_on(self.mkdir),
            lines: Lines {
                form,
                json: plain_json(cx),
            },
        };
        Ok(Arc::new(Files {
            limits: serial(cx),
            job: Arc::new(job),
        }))
    }
}

impl Config {
    fn waiting(&self, cx: &BuildCx<'_>, errors: &mut Vec<Diagnostic>) {
        if is_on(self.rotate) {
            errors.push(refuse(
                cx,
                "rotate",
                "not supported yet; logrotate can do it, it is followed",
            ));
        }
        if is_on(self.enable_strftime) {
            errors.push(refuse(
                cx,
                "enable_strftime",
                "dates in file names are not supported yet",
            ));
        }
        for (key, value) in [("path", &self.path), ("file", &self.file)] {
            if value.as_deref().is_some_and(|value| value.contains('$')) {
                errors.push(refuse(
                    cx,
                    key,
                    "record fields in file names are not supported yet",
                ));
            }
        }
        let idle = [
            ("rotate_max_size", self.rotate_max_size.is_some()),
            ("rotate_max_files", self.rotate_max_files.is_some()),
            ("rotate_gzip", self.rotate_gzip.is_some()),
            ("max_dynamic_files", self.max_dynamic_files.is_some()),
            ("on_missing_field", self.on_missing_field.is_some()),
            ("on_limit_reached", self.on_limit_reached.is_some()),
            ("fallback_path", self.fallback_path.is_some()),
            ("fallback_file", self.fallback_file.is_some()),
        ];
        for (key, _) in idle.iter().filter(|(_, is_set)| *is_set) {
            warn(cx, key, "has no effect: what it goes with is off");
        }
    }

    fn form(&self, cx: &BuildCx<'_>) -> Result<Form, Diagnostic> {
        let format = self.format.as_deref().unwrap_or("out_file").to_ascii_lowercase();
        let delimiter = |default: &str| delimiter(self.delimiter.as_deref().unwrap_or(default));
        let unused = [
            (
                "delimiter",
                self.delimiter.is_some() && !matches!(&*format, "csv" | "ltsv"),
            ),
            (
                "label_delimiter",
                self.label_delimiter.is_some() && format != "ltsv",
            ),
            ("template", self.template.is_some() && format != "template"),
            (
                "csv_column_names",
                is_on(self.csv_column_names) && format != "csv",
            ),
        ];
        for (key, _) in unused.iter().filter(|(_, is_unused)| *is_unused) {
            warn(cx, key, &format!("has no effect with `format {format}`"));
        }
        Ok(match &*format {
            // Fluent Bit reads any word that it does not know as its default; `json` is the one people write.
            "out_file" | "json" => Form::Default,
            "plain" => Form::Plain,
            "csv" => Form::Csv {
                delimiter: delimiter(","),
                names: is_on(self.csv_column_names),
            },
            "ltsv" => Form::Ltsv {
                delimiter: delimiter("\t"),
                label: self::delimiter(self.label_delimiter.as_deref().unwrap_or(":")),
            },
            "msgpack" => Form::Msgpack,
            "template" => Form::Template(pieces(self.template.as_deref().unwrap_or("{time} {message}"))),
            _ => {
                return Err(refuse(
                    cx,
                    "format",
                    "use out_file, plain, csv, ltsv, template or msgpack",
                ));
            }
        })
    }
}

fn delimiter(word: &str) -> Vec<u8> {
    match word {
        "\\t" | "tab" => b"\t".to_vec(),
        "space" => b" ".to_vec(),
        "comma" => b",".to_vec(),
        text => text.as_bytes().to_vec(),
    }
}

/// Bytes of one write.
const PIECE: usize = 128 * 1024;

struct Files {
    limits: Limits,
    job: Arc<Job>,
}

/// What the writing thread needs.
struct Job {
    fixed: Option<PathBuf>,
    folder: PathBuf,
    mkdir: bool,
    lines: Lines,
}

impl Job {
    fn run(&self, chunk: &Chunk) -> Outcome {
        let path = match (&self.fixed, chunk.tag()) {
            (Some(path), _) => path.clone(),
            (None, Some(tag)) => name::of_tag(&self.folder, tag.as_bytes()),
            (None, None) => return Outcome::Delivered,
        };
        match self.append(chunk, &path) {
            Ok(()) => Outcome::Delivered,
            Err((_, error @ WriteError::Never { .. })) => {
                Outcome::discard_all(Cause::new(CauseKind::Refused, error.to_string()))
            }
            Err((done, error)) => Outcome::Retry {
                done,
                refused: RecordSet::none(),
                after: None,
                why: Cause::new(CauseKind::Io, error.to_string()),
            },
        }
    }

    /// Writes the chunk in pieces that stay in the cache of the processor.
    fn append(&self, chunk: &Chunk, path: &Path) -> Result<(), (RecordSet, WriteError)> {
        let opened = match self.fixed {
            Some(_) => write::open(path, self.mkdir),
            None => write::open_below(&self.folder, path, self.mkdir),
        };
        let (mut file, is_new) = opened.map_err(|error| (RecordSet::none(), error))?;
        let mut block = Vec::with_capacity(PIECE + PIECE / 4);
        let mut before = 0;
        let mut flush = |block: &mut Vec<u8>| {
            write::append(&mut file, path, block, before)?;
            before += block.len();
            block.clear();
            Ok(())
        };
        let whole = |block: &mut Vec<u8>| if block.len() < PIECE { Ok(()) } else { flush(block) };
        let written = self.lines.encode(chunk, is_new, &mut block, whole);
        written.and_then(|()| flush(&mut block)).map_err(|error| {
            let written = match &error {
                WriteError::Part { written, .. } => *written,
                WriteError::Nothing { .. } | WriteError::Never { .. } => 0,
            };
            (self.whole(chunk, is_new, written), error)
        })
    }

    /// The records that are whole within the first `written` bytes of their block.
    fn whole(&self, chunk: &Chunk, is_new: bool, written: usize) -> RecordSet {
        if written == 0 {
            return RecordSet::none();
        }
        let (mut count, mut end) = (0, 0);
        let counted = self.lines.encode(chunk, is_new, &mut Vec::new(), |line| {
            end += line.len();
            line.clear();
            count += u32::from(end <= written);
            if end < written { Ok(()) } else { Err(()) }
        });
        // Either way the counting is over.
        let (Ok(()) | Err(())) = counted;
        RecordSet::range(0, count)
    }
}

impl Output for Files {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn group_by(&self) -> GroupBy {
        match self.job.fixed {
            Some(_) => GroupBy::All,
            None => GroupBy::Tag,
        }
    }

    fn deliver(&self, chunk: Chunk, _cx: DeliverCx) -> BoxFuture<'_, Outcome> {
        let job = self.job.clone();
        Box::pin(async move {
            // Even a small append may wait for the disk: never on an I/O worker.
            let done = tokio::task::spawn_blocking(move || job.run(&chunk)).await;
            done.unwrap_or_else(|_| Outcome::retry(Cause::new(CauseKind::Panic, "the encoder panicked")))
        })
    }
}
