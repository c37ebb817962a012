//! A chunk as a Parquet file: a row for each record, a column for each key.
//!
//! Columns stand in the order in which their keys appear, the date first; all are optional, and a key that
//! is absent or `nil` is a null. A column's type is that of what occurs in it, in this file: bool, int64,
//! double (integers beside doubles too, if a double holds them), else UTF-8 text. In text a string stands as
//! it is, all else as JSON. Of repeated keys the last one counts. Metadata are JSON in `__internal__`.
//!
//! Limits: 500 columns; what further keys a record has stands as JSON in `__more__`. A group of rows has
//! half a million values, so that no more of them stand in memory beside the chunk and the file.
//!
//! The chunk is walked twice: for names and types, then for values. There is no tree of values.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use firelane_core::Chunk;
use firelane_net::Encoding;
use firelane_record::Timestamp;
use firelane_record::json::{DateFormat, JsonOptions};
use firelane_record::msgpack::{self, Reader, Token};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use crate::payload::{Log, logs};
use crate::squeeze::Coding;

/// Most columns but the one of what is left.
const COLUMNS_MAX: usize = 500;
/// Values of a group of rows, beyond which it is written.
const CELLS_MAX: usize = 1 << 19;
/// Rows that are handed over at once.
const BATCH: u32 = 1024;
/// The largest integer below which a double holds all.
const DOUBLE_EXACT: u64 = 1 << 53;
/// Column of what has no column. A record's own key of that name stands within it.
pub(super) const MORE: &str = "__more__";
/// Column of metadata, as in JSON lines.
const INTERNAL: &str = "__internal__";

/// What occurs in a column, as bits.
mod seen {
    pub(super) const BOOL: u8 = 1;
    pub(super) const INT: u8 = 2;
    /// An integer that a double may not hold.
    pub(super) const WIDE: u8 = 4;
    pub(super) const DOUBLE: u8 = 8;
    pub(super) const OTHER: u8 = 16;
}

/// How records become columns.
#[derive(Debug)]
pub(super) struct Columns {
    /// Without a date.
    json: JsonOptions,
    /// Column of the record's time.
    date: Option<(String, DateFormat)>,
    compression: Compression,
}

/// A value of a record.
#[derive(Debug, Clone)]
enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    /// The date as text.
    Time(DateFormat, Timestamp),
    /// Text, or what becomes text.
    Raw(&'a [u8]),
    Text(Box<str>),
}

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Double,
    Text,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// Bits of [`seen`].
    seen: u8,
    /// The last row that has a value in it, and which value of the row that is.
    last: (u64, usize),
}

/// The columns found so far, and the values of the row under way.
#[derive(Debug, Default)]
struct Table<'a> {
    columns: Vec<Column>,
    by_name: HashMap<String, usize>,
    /// Columns by the bytes of their key, as records have it.
    by_raw: HashMap<&'a [u8], usize>,
    /// Where [`MORE`] stands.
    more: Option<usize>,
    /// The row under way, from 1.
    number: u64,
    row: Vec<(usize, Value<'a>)>,
}

/// Values of a column with their rows in the group.
type Cells<'a> = Vec<(u32, Value<'a>)>;

impl Columns {
    /// `coding` is that of the columns; `json` prints what becomes text.
    pub(super) fn new(json: JsonOptions, date: Option<(String, DateFormat)>, coding: Option<Coding>) -> Self {
        let compression = match coding {
            None => Compression::UNCOMPRESSED,
            Some(Coding::Snappy) => Compression::SNAPPY,
            Some(Coding::Stream(Encoding::Zstd)) => Compression::ZSTD(Default::default()),
            Some(Coding::Stream(_)) => Compression::GZIP(Default::default()),
        };
        Self {
            json,
            date,
            compression,
        }
    }

    /// The file; nothing for a chunk without records.
    ///
    /// # Errors
    /// Where the writer fails: a bug, or no memory.
    pub(super) fn file(&self, chunk: &Chunk) -> Result<Vec<u8>, ParquetError> {
        self.file_of(chunk, CELLS_MAX)
    }

    fn file_of(&self, chunk: &Chunk, cells_max: usize) -> Result<Vec<u8>, ParquetError> {
        let mut table = Table::default();
        for log in logs(chunk) {
            self.read(&log, &mut table);
            for (column, value) in &table.row {
                table.columns[*column].seen |= value.seen();
            }
        }
        if table.number == 0 {
            return Ok(Vec::new());
        }
        if table.columns.is_empty() {
            // A file without columns has no rows either.
            table.more();
        }
        let kinds: Vec<_> = table.columns.iter().map(Column::kind).collect();
        let properties = WriterProperties::builder()
            .set_compression(self.compression)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        let out = Vec::with_capacity(chunk.bytes() / 8);
        let mut file = SerializedFileWriter::new(out, table.schema()?, Arc::new(properties))?;
        let mut cells: Vec<Cells<'_>> = vec![Vec::new(); kinds.len()];
        let (mut count, mut rows) = (0, 0);
        let mut logs = logs(chunk).peekable();
        while let Some(log) = logs.next() {
            self.read(&log, &mut table);
            count += table.row.len();
            for (column, value) in table.row.drain(..) {
                cells[column].push((rows, value));
            }
            rows += 1;
            if count >= cells_max || logs.peek().is_none() {
                self.write_group(&mut file, &kinds, &mut cells, rows)?;
                (count, rows) = (0, 0);
            }
        }
        file.into_inner()
    }

    /// Reads a record into the table's row.
    fn read<'a>(&self, log: &Log<'a>, table: &mut Table<'a>) {
        table.number += 1;
        table.row.clear();
        if let Some((key, format)) = &self.date {
            let time = log.event.time;
            let value = match format {
                DateFormat::Double => Value::Double(time.to_f64()),
                DateFormat::Epoch => Value::Int(time.secs),
                DateFormat::EpochMs => Value::Int(time.millis()),
                format => Value::Time(*format, time),
            };
            table.set_named(key, value);
        }
        let metadata = log.event.metadata_filled();
        if metadata.is_some() || log.group.is_some() {
            table.set_named(INTERNAL, Value::Text(self.internal(log.group, metadata)));
        }
        let (mut left, mut count) = (Vec::new(), 0);
        for (key, value) in msgpack::pairs(log.event.body) {
            match table.column_of(key, &self.json) {
                Some(column) => table.set(column, Value::of(value)),
                None => {
                    left.extend_from_slice(key);
                    left.extend_from_slice(value);
                    count += 1;
                }
            }
        }
        if count > 0 {
            let mut map = Vec::with_capacity(left.len() + 5);
            msgpack::write_map_head(&mut map, count);
            map.append(&mut left);
            let column = table.more();
            table.set(column, Value::Text(self.printed(&map)));
        }
    }

    /// A raw value as JSON.
    fn printed(&self, raw: &[u8]) -> Box<str> {
        let mut out = Vec::new();
        self.json.encode_value(raw, &mut out);
        String::from_utf8_lossy(&out).into()
    }

    /// Metadata as they stand in JSON lines.
    #[cold]
    fn internal(&self, group: Option<&[u8]>, metadata: Option<&[u8]>) -> Box<str> {
        let parts = [("group_attributes", group), ("log_metadata", metadata)];
        let parts = parts.into_iter().filter_map(|(key, raw)| Some((key, raw?)));
        let parts: Vec<_> = parts
            .map(|(key, raw)| format!("\"{key}\":{}", self.printed(raw)))
            .collect();
        format!("{{{}}}", parts.join(",")).into()
    }

    /// Writes the values of a group of rows, and takes them away.
    fn write_group(
        &self,
        file: &mut SerializedFileWriter<Vec<u8>>,
        kinds: &[Kind],
        cells: &mut [Cells<'_>],
        rows: u32,
    ) -> Result<(), ParquetError> {
        let mut group = file.next_row_group()?;
        for (kind, cells) in kinds.iter().zip(cells) {
            cells.retain(|(_, value)| !matches!(value, Value::Null));
            let Some(column) = group.next_column()? else {
                return Err(ParquetError::General("a column is missing".to_owned()));
            };
            match kind {
                Kind::Bool => write::<BoolType>(column, cells, rows, |cells| {
                    cells
                        .iter()
                        .map(|(_, value)| matches!(value, Value::Bool(true)))
                        .collect()
                }),
                Kind::Int => write::<Int64Type>(column, cells, rows, |cells| {
                    cells.iter().map(|(_, value)| value.int()).collect()
                }),
                Kind::Double => write::<DoubleType>(column, cells, rows, |cells| {
                    cells.iter().map(|(_, value)| value.double()).collect()
                }),
                Kind::Text => write::<ByteArrayType>(column, cells, rows, |cells| self.texts(cells)),
            }?;
            cells.clear();
        }
        group.close()?;
        Ok(())
    }

    /// The texts of values, in one piece of memory.
    fn texts(&self, cells: &[(u32, Value<'_>)]) -> Vec<ByteArray> {
        let (mut all, mut ends) = (Vec::new(), Vec::with_capacity(cells.len()));
        for (_, value) in cells {
            self.text(value, &mut all);
            ends.push(all.len());
        }
        let all = Bytes::from(all);
        let mut from = 0;
        let cut = |to| {
            let text = all.slice(from..to);
            from = to;
            ByteArray::from(text)
        };
        ends.into_iter().map(cut).collect()
    }

    /// Appends a value as text.
    fn text(&self, value: &Value<'_>, out: &mut Vec<u8>) {
        let mut raw = Vec::new();
        match value {
            Value::Null => {}
            Value::Raw(raw) => match msgpack::read(raw) {
                Some((Token::Str(text) | Token::Bin(text), _)) => {
                    out.extend_from_slice(String::from_utf8_lossy(text).as_bytes());
                }
                Some((Token::Ext(..), _)) => self.unquoted(out, |out| self.json.encode_value(raw, out)),
                _ => self.json.encode_value(raw, out),
            },
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Time(format, time) => self.unquoted(out, |out| format.write(out, *time)),
            // Writing to a vector cannot fail.
            Value::Bool(value) => drop(write!(out, "{value}")),
            Value::Int(n) => drop(write!(out, "{n}")),
            Value::Double(n) => {
                msgpack::write_f64(&mut raw, *n);
                self.json.encode_value(&raw, out);
            }
        }
    }

    /// Appends a JSON string that has nothing escaped in it, without its quotes.
    fn unquoted(&self, out: &mut Vec<u8>, print: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        print(out);
        if out.len() >= start + 2 && out.get(start) == Some(&b'"') {
            out.pop();
            out.remove(start);
        }
    }
}

/// Writes a column of a group of rows; `values` are those of some cells.
fn write<T: DataType>(
    mut column: SerializedColumnWriter<'_>,
    cells: &[(u32, Value<'_>)],
    rows: u32,
    values: impl Fn(&[(u32, Value<'_>)]) -> Vec<T::T>,
) -> Result<(), ParquetError> {
    let (mut rest, mut from) = (cells, 0);
    let mut levels = Vec::with_capacity(BATCH as usize);
    while from < rows {
        let to = rows.min(from + BATCH);
        let near = &rest[..rest.len().min(BATCH as usize)];
        let (now, later) = rest.split_at(near.partition_point(|(row, _)| *row < to));
        levels.clear();
        levels.resize((to - from) as usize, 0);
        for (row, _) in now {
            levels[(row - from) as usize] = 1;
        }
        let written = column
            .typed::<T>()
            .write_batch(&values(now), Some(&levels), None)?;
        if written != now.len() {
            let text = format!("{written} of {} values were written", now.len());
            return Err(ParquetError::General(text));
        }
        (rest, from) = (later, to);
    }
    column.close()
}

impl<'a> Value<'a> {
    fn of(raw: &'a [u8]) -> Self {
        match Reader::new(raw).token() {
            Some(Token::Nil) | None => Self::Null,
            Some(Token::Bool(value)) => Self::Bool(value),
            Some(Token::Int(n)) => Self::Int(n),
            Some(Token::F64(n)) => Self::Double(n),
            Some(Token::F32(n)) => Self::Double(f64::from(n)),
            Some(_) => Self::Raw(raw),
        }
    }

    fn seen(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => seen::BOOL,
            Self::Int(n) if n.unsigned_abs() > DOUBLE_EXACT => seen::INT | seen::WIDE,
            Self::Int(_) => seen::INT,
            Self::Double(_) => seen::DOUBLE,
            Self::Time(..) | Self::Raw(_) | Self::Text(_) => seen::OTHER,
        }
    }

    fn int(&self) -> i64 {
        match self {
            Self::Int(n) => *n,
            _ => 0,
        }
    }

    fn double(&self) -> f64 {
        match self {
            Self::Int(n) => *n as f64,
            Self::Double(n) => *n,
            _ => 0.0,
        }
    }
}

impl Column {
    fn kind(&self) -> Kind {
        const INT_WIDE: u8 = seen::INT | seen::WIDE;
        const DOUBLE_INT: u8 = seen::DOUBLE | seen::INT;
        match self.seen {
            seen::BOOL => Kind::Bool,
            seen::INT | INT_WIDE => Kind::Int,
            seen::DOUBLE | DOUBLE_INT => Kind::Double,
            _ => Kind::Text,
        }
    }

    fn schema(&self) -> Result<Type, ParquetError> {
        let (physical, logical) = match self.kind() {
            Kind::Bool => (Physical::BOOLEAN, None),
            Kind::Int => (Physical::INT64, None),
            Kind::Double => (Physical::DOUBLE, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        Type::primitive_type_builder(&self.name, physical)
            .with_logical_type(logical)
            .with_repetition(Repetition::OPTIONAL)
            .build()
    }
}

impl<'a> Table<'a> {
    fn schema(&self) -> Result<TypePtr, ParquetError> {
        let columns = self.columns.iter().map(|column| column.schema().map(Arc::new));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(
            Type::group_type_builder("record").with_fields(columns).build()?,
        ))
    }

    /// The column of a key; `None` if there are too many.
    fn column_of(&mut self, key: &'a [u8], json: &JsonOptions) -> Option<usize> {
        if let Some(column) = self.by_raw.get(key) {
            return Some(*column);
        }
        let column = self.named(&name(key, json))?;
        // As many spellings as columns: a name has several, but not in records that anybody means.
        if self.by_raw.len() < COLUMNS_MAX {
            self.by_raw.insert(key, column);
        }
        Some(column)
    }

    fn named(&mut self, name: &str) -> Option<usize> {
        if let Some(column) = self.by_name.get(name) {
            return Some(*column);
        }
        if name == MORE || self.by_name.len() >= COLUMNS_MAX {
            return None;
        }
        let column = self.add(name);
        self.by_name.insert(name.to_owned(), column);
        Some(column)
    }

    fn more(&mut self) -> usize {
        match self.more {
            Some(column) => column,
            None => {
                let column = self.add(MORE);
                self.more = Some(column);
                column
            }
        }
    }

    fn add(&mut self, name: &str) -> usize {
        self.columns.push(Column {
            name: name.to_owned(),
            seen: 0,
            last: (0, 0),
        });
        self.columns.len() - 1
    }

    /// Sets a value of the row; one that is there already gives way.
    fn set(&mut self, column: usize, value: Value<'a>) {
        let last = self.columns[column].last;
        if last.0 == self.number {
            self.row[last.1].1 = value;
        } else {
            self.columns[column].last = (self.number, self.row.len());
            self.row.push((column, value));
        }
    }

    fn set_named(&mut self, name: &str, value: Value<'a>) {
        if let Some(column) = self.named(name) {
            self.set(column, value);
        }
    }
}

/// The name of a key, as JSON has it.
fn name(key: &[u8], json: &JsonOptions) -> String {
    if let Some(text) = msgpack::text(key) {
        return String::from_utf8_lossy(text).into_owned();
    }
    let mut out = Vec::new();
    json.encode_value(key, &mut out);
    let text = String::from_utf8_lossy(&out);
    // An extension is a string of JSON.
    text.trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests;
