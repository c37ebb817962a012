//! The keys `storage.*` of `[SERVICE]`, and what is ours beside them.

use crate::diag::Diagnostic;
use crate::service::{bad, bytes, no_effect, number, on};
use crate::tree::Entry;

/// How the log is kept on disk. Source: Fluent Bit's `src/flb_config.c` and `flb_storage.c`, observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// `storage.path`: the folder; `None`: nothing outlives the process.
    pub path: Option<String>,
    /// `storage.sync full`
    pub full_sync: bool,
    /// `storage.max_chunks_up`: chunks of 2 MB that a durable input keeps in memory.
    pub chunks_up_max: usize,
    /// `storage.backlog.mem_limit`: bytes of records of an earlier run that an output loads at once.
    pub backlog_mem_limit: u64,
    /// `storage.delete_irrecoverable_chunks`
    pub delete_damaged: bool,
    /// `storage.keep.rejected`; `None` when it is not set.
    pub keep_rejected: Option<bool>,
    /// `storage.rejected.path`: a folder inside that of the log.
    pub rejected_path: String,
    /// `storage.rejected.limit`: bytes of dead letters; `None`: a default.
    pub rejected_limit: Option<u64>,
    /// `storage.type filesystem` with `storage.inherit on`: for inputs that say nothing.
    pub type_for_all: Option<String>,
    /// `storage.inherit`
    pub inherit: bool,
    /// `firelane.storage_limit`: bytes of the log on disk; `None`: a default.
    pub limit: Option<u64>,
    /// `firelane.spill_path`: where records go that do not fit into memory, without `storage.path`. `off`:
    /// nowhere. `None`: the system's folder for temporary files.
    pub spill_path: Option<String>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            path: None,
            full_sync: false,
            chunks_up_max: 128,
            backlog_mem_limit: 5_000_000,
            delete_damaged: false,
            keep_rejected: None,
            rejected_path: "rejected".into(),
            rejected_limit: None,
            type_for_all: None,
            inherit: false,
            limit: None,
            spill_path: None,
        }
    }
}

impl StorageConfig {
    /// What inputs without `storage.type` get.
    pub fn inherited_type(&self) -> Option<&str> {
        self.type_for_all.as_deref().filter(|_| self.inherit)
    }

    /// Whether records that are given up are kept as dead letters.
    pub fn buries(&self) -> bool {
        self.path.is_some() && self.keep_rejected.unwrap_or(true)
    }

    /// Takes a key that is one of these; false: it is none.
    pub(crate) fn apply(&mut self, key: &str, entry: &Entry, found: &mut Vec<Diagnostic>) -> bool {
        let text = entry.value.value.trim();
        match key {
            "storage.path" => self.path = Some(text.to_string()).filter(|path| !path.is_empty()),
            "storage.sync" => match () {
                () if text.eq_ignore_ascii_case("normal") => self.full_sync = false,
                () if text.eq_ignore_ascii_case("full") => self.full_sync = true,
                () => found.push(choice(entry, "normal or full")),
            },
            "storage.checksum" => {
                let mut checked = false;
                on(entry, &mut checked, found);
                if !checked {
                    let reason = "what is on disk always has checksums";
                    found.push(no_effect(entry, "storage.checksum off", reason));
                }
            }
            "storage.max_chunks_up" => number(entry, &mut self.chunks_up_max, found),
            "storage.backlog.mem_limit" => {
                let mut limit = Some(self.backlog_mem_limit);
                bytes(entry, &mut limit, found);
                self.backlog_mem_limit = limit.unwrap_or(u64::MAX);
            }
            "storage.delete_irrecoverable_chunks" => on(entry, &mut self.delete_damaged, found),
            "storage.keep.rejected" => {
                let mut keep = false;
                on(entry, &mut keep, found);
                self.keep_rejected = Some(keep);
            }
            "storage.rejected.path" => self.rejected_path(text, entry, found),
            "storage.rejected.limit" => bytes(entry, &mut self.rejected_limit, found),
            "storage.type" => match () {
                () if is_type(text) => self.type_for_all = Some(text.to_ascii_lowercase()),
                () => found.push(choice(entry, "memory, filesystem or memrb")),
            },
            "storage.inherit" => on(entry, &mut self.inherit, found),
            "firelane.storage_limit" => bytes(entry, &mut self.limit, found),
            "firelane.spill_path" => self.spill_path = Some(text.to_string()),
            _ => return false,
        }
        true
    }

    fn rejected_path(&mut self, text: &str, entry: &Entry, found: &mut Vec<Diagnostic>) {
        let plain = !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '\\', '\0']);
        if plain {
            self.rejected_path = text.to_string();
        } else {
            found.push(choice(
                entry,
                "the name of a folder inside `storage.path`, without `/`",
            ));
        }
    }
}

fn is_type(text: &str) -> bool {
    ["memory", "filesystem", "memrb"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text))
}

fn choice(entry: &Entry, words: &str) -> Diagnostic {
    let key = &entry.key.value;
    bad(
        entry,
        &format!("`{key}` is not one of its values"),
        &format!("write {words}"),
    )
}
