//! Within the router's container; most are for tests.

use super::Destination;

pub(super) const COUNTER: Destination = Destination {
    ..Destination::local("counter", "Record counter")
};

pub(super) const EXIT: Destination = Destination {
    options: &["flush_count", "record_count", "time_count"],
    ..Destination::local("exit", "Exit after a number of flushes")
};

pub(super) const FILE: Destination = Destination {
    options: &[
        "csv_column_names",
        "delimiter",
        "enable_strftime",
        "fallback_file",
        "fallback_path",
        "file",
        "format",
        "label_delimiter",
        "max_dynamic_files",
        "mkdir",
        "on_limit_reached",
        "on_missing_field",
        "path",
        "rotate",
        "rotate_gzip",
        "rotate_max_files",
        "rotate_max_size",
        "template",
    ],
    target: &["path", "file"],
    ..Destination::local("file", "File")
};

pub(super) const FLOWCOUNTER: Destination = Destination {
    options: &["event_based", "unit"],
    ..Destination::local("flowcounter", "Flow counter")
};

pub(super) const NULL: Destination = Destination {
    options: &["format", "json_date_format", "json_date_key"],
    ..Destination::local("null", "Discarded")
};

pub(super) const PLOT: Destination = Destination {
    options: &["file", "key"],
    target: &["file"],
    ..Destination::local("plot", "Gnuplot file")
};

pub(super) const RETRY: Destination = Destination {
    options: &["retry"],
    ..Destination::local("retry", "Retry, for tests")
};

pub(super) const STDOUT: Destination = Destination {
    options: &["format", "json_date_format", "json_date_key"],
    ..Destination::local("stdout", "Standard output")
};
