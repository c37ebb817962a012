//! Files are read back by the crate's own reader.

use firelane_core::Part;
use firelane_record::{RecordsBuf, Tag};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const TIME: Timestamp = Timestamp {
    secs: 1_700_000_000,
    nanos: 123_456_000,
};

/// A value as a test writes it.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    Nil,
    Bool(bool),
    Int(i64),
    UInt(u64),
    F32(f32),
    F64(f64),
    Str(Vec<u8>),
    Bin(Vec<u8>),
    Ext(Vec<u8>),
    List(Vec<Given>),
    Map(Vec<(Given, Given)>),
}

impl Given {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => msgpack::write_nil(out),
            Self::Bool(value) => msgpack::write_bool(out, *value),
            Self::Int(n) => msgpack::write_int(out, *n),
            Self::UInt(n) => msgpack::write_uint(out, *n),
            Self::F32(n) => {
                out.push(0xca);
                out.extend_from_slice(&n.to_be_bytes());
            }
            Self::F64(n) => msgpack::write_f64(out, *n),
            Self::Str(text) => msgpack::write_str(out, text),
            Self::Bin(bytes) => msgpack::write_bin(out, bytes),
            Self::Ext(bytes) => {
                out.extend_from_slice(&[0xc7, bytes.len() as u8, 5]);
                out.extend_from_slice(bytes);
            }
            Self::List(list) => {
                msgpack::write_array_head(out, list.len() as u32);
                list.iter().for_each(|value| value.write(out));
            }
            Self::Map(pairs) => write_map(pairs, out),
        }
    }

    fn raw(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// As text in a column.
    fn text(&self) -> String {
        match self {
            Self::Str(text) | Self::Bin(text) => String::from_utf8_lossy(text).into_owned(),
            Self::Ext(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            value => {
                let mut out = Vec::new();
                JsonOptions::default().encode_value(&value.raw(), &mut out);
                String::from_utf8(out).unwrap()
            }
        }
    }

    /// Whether `found`, in a column of values like `all`, is this value.
    fn is_found(&self, found: Option<&Field>, all: &[&Given]) -> bool {
        let is_int = |value: &Given| matches!(value, Self::Int(_));
        let is_float = |value: &Given| matches!(value, Self::F32(_) | Self::F64(_));
        match (self, found) {
            (Self::Nil, None | Some(Field::Null)) => true,
            (Self::Bool(given), Some(Field::Bool(found))) => given == found,
            (Self::Int(given), Some(Field::Long(found))) => given == found,
            (Self::Int(given), Some(Field::Double(found))) => *found as i128 == i128::from(*given),
            (Self::F32(given), Some(Field::Double(found))) => f64::from(*given).to_bits() == found.to_bits(),
            (Self::F64(given), Some(Field::Double(found))) => given.to_bits() == found.to_bits(),
            (given, Some(Field::Str(found))) => {
                // A narrower type must not have been possible.
                let is_one = |is: &dyn Fn(&Given) -> bool| all.iter().all(|value| is(value));
                let is_bool = |value: &Given| matches!(value, Self::Bool(_));
                let exact = |value: &Given| match value {
                    Self::Int(n) => n.unsigned_abs() <= 1 << 53,
                    value => is_float(value),
                };
                !(is_one(&is_bool) || is_one(&is_int) || is_one(&exact)) && *found == given.text()
            }
            _ => false,
        }
    }
}

fn write_map(pairs: &[(Given, Given)], out: &mut Vec<u8>) {
    msgpack::write_map_head(out, pairs.len() as u32);
    for (key, value) in pairs {
        key.write(out);
        value.write(out);
    }
}

type Row = Vec<(Given, Given)>;

fn chunk(rows: &[Row]) -> Chunk {
    let mut buf = RecordsBuf::default();
    for row in rows {
        buf.push_with(TIME, None, |out| write_map(row, out));
    }
    chunk_of(buf)
}

fn chunk_of(mut buf: RecordsBuf) -> Chunk {
    let tag = Tag::new("t").unwrap();
    let records = buf.take();
    Chunk::new(vec![Part { tag, records }])
}

fn columns(date: Option<DateFormat>, coding: Option<Coding>) -> Columns {
    let date = date.map(|format| ("date".to_owned(), format));
    Columns::new(JsonOptions::default(), date, coding)
}

fn read(file: Vec<u8>) -> Vec<Vec<(String, Field)>> {
    let reader = SerializedFileReader::new(Bytes::from(file)).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().into_columns()).collect()
}

fn text(text: &str) -> Given {
    Given::Str(text.into())
}

/// The types of columns, in order.
fn types(file: &[u8]) -> Vec<(String, Physical)> {
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(file)).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let columns = schema.columns().iter();
    columns
        .map(|column| (column.name().to_owned(), column.physical_type()))
        .collect()
}

#[track_caller]
fn check_type(values: &[Given], want: Physical) {
    let rows: Vec<Row> = values
        .iter()
        .map(|value| vec![(text("k"), value.clone())])
        .collect();
    let file = columns(None, None).file(&chunk(&rows)).unwrap();
    assert_eq!(types(&file), [("k".to_owned(), want)], "{values:?}");
}

#[test]
fn a_column_has_the_type_of_its_values() {
    use Given::{Bool, F32, F64, Int, List, Nil, UInt};
    check_type(&[Bool(true), Nil, Bool(false)], Physical::BOOLEAN);
    check_type(&[Int(1), Int(i64::MIN), Nil], Physical::INT64);
    check_type(&[F32(1.5), F64(2.5)], Physical::DOUBLE);
    check_type(&[Int(1), F64(2.5)], Physical::DOUBLE);
    check_type(&[Int(1 << 53), F64(2.5)], Physical::DOUBLE);
    check_type(&[Int((1 << 53) + 1), F64(2.5)], Physical::BYTE_ARRAY);
    check_type(&[Int(1), UInt(u64::MAX)], Physical::BYTE_ARRAY);
    check_type(&[Int(1), Bool(true)], Physical::BYTE_ARRAY);
    check_type(&[List(vec![])], Physical::BYTE_ARRAY);
    check_type(&[Nil], Physical::BYTE_ARRAY);
}

#[test]
fn the_date_comes_first_and_texts_are_bare() {
    let rows = [
        vec![(text("log"), text("a \"b\"")), (text("n"), Given::Int(1))],
        vec![
            (text("n"), text("two")),
            (text("m"), Given::List(vec![text("x")])),
        ],
    ];
    let file = columns(Some(DateFormat::Iso8601), None)
        .file(&chunk(&rows))
        .unwrap();
    let names: Vec<_> = types(&file).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["date", "log", "n", "m"]);
    let read = read(file);
    let text = |text: &str| Field::Str(text.to_owned());
    let date = text("2023-11-14T22:13:20.123456Z");
    let found = |row: usize| {
        read[row]
            .iter()
            .map(|(_, field)| field.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(0), [date.clone(), text("a \"b\""), text("1"), Field::Null]);
    assert_eq!(found(1), [date, Field::Null, text("two"), text("[\"x\"]")]);
    for (format, want) in [
        (DateFormat::Epoch, Physical::INT64),
        (DateFormat::EpochMs, Physical::INT64),
        (DateFormat::Double, Physical::DOUBLE),
        (DateFormat::JavaSqlTimestamp, Physical::BYTE_ARRAY),
    ] {
        let file = columns(Some(format), None).file(&chunk(&rows)).unwrap();
        assert_eq!(types(&file)[0], ("date".to_owned(), want));
    }
}

/// Guarantees: a date of the record stands in place of the router's, and what gave way says nothing about the
/// type.
#[test]
fn the_last_of_repeated_keys_counts() {
    let rows = [vec![
        (text("date"), Given::Int(5)),
        (text("a"), text("x")),
        (Given::Bin(b"a".to_vec()), Given::Int(7)),
    ]];
    let file = columns(Some(DateFormat::Iso8601), None)
        .file(&chunk(&rows))
        .unwrap();
    let want = [("date", 5), ("a", 7)].map(|(name, n)| (name.to_owned(), Field::Long(n)));
    assert_eq!(read(file), [want.to_vec()]);
}

#[test]
fn keys_beyond_the_limit_stand_in_one_column() {
    let row = |range: std::ops::Range<i64>| -> Row {
        let pair = |n| (text(&format!("k{n}")), Given::Int(n));
        range.map(pair).collect()
    };
    let mut rows = vec![row(0..490), row(480..600), row(0..5)];
    rows[2].push((text(MORE), Given::Bool(true)));
    let file = columns(None, None).file(&chunk(&rows)).unwrap();
    assert_eq!(types(&file).len(), COLUMNS_MAX + 1);
    let read = read(file);
    let more: Vec<_> = read.iter().map(|row| row.last().unwrap().1.clone()).collect();
    let left: Vec<_> = (500..600).map(|n| format!("\"k{n}\":{n}")).collect();
    let left = Field::Str(format!("{{{}}}", left.join(",")));
    assert_eq!(
        more,
        [Field::Null, left, Field::Str("{\"__more__\":true}".to_owned())]
    );
    assert_eq!(read[1][499], ("k499".to_owned(), Field::Long(499)));
}

#[test]
fn records_without_anything_are_rows() {
    let file = columns(None, None).file(&chunk(&[vec![], vec![]])).unwrap();
    assert_eq!(read(file), vec![vec![(MORE.to_owned(), Field::Null)]; 2]);
    let nothing = columns(None, None).file(&chunk(&[])).unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn metadata_and_groups_are_json() {
    let mut buf = RecordsBuf::default();
    let marker = |secs| Timestamp { secs, nanos: 0 };
    buf.push(marker(0xFFFF_FFFF), Some(&[0x80]), &[0x81, 0xa1, b'r', 1]);
    buf.push(TIME, Some(&[0x81, 0xa1, b'm', 2]), &[0x81, 0xa1, b'a', 3]);
    buf.push(marker(0xFFFF_FFFE), Some(&[0x80]), &[0x80]);
    let file = columns(None, None).file(&chunk_of(buf)).unwrap();
    let internal = r#"{"group_attributes":{"r":1},"log_metadata":{"m":2}}"#;
    let want = [
        (INTERNAL.to_owned(), Field::Str(internal.to_owned())),
        ("a".to_owned(), Field::Long(3)),
    ];
    assert_eq!(read(file), [want.to_vec()]);
}

/// Guarantees: `compression` makes the columns smaller, and any reader knows by itself.
#[test]
fn columns_are_compressed() {
    let rows: Vec<Row> = (0..5000)
        .map(|n| vec![(text("log"), text(&format!("GET /index.html {n} 200 12ms")))])
        .collect();
    let chunk = chunk(&rows);
    let plain = columns(None, None).file(&chunk).unwrap();
    let want = read(plain.clone());
    assert_eq!(want.len(), 5000);
    for coding in [
        Coding::Snappy,
        Coding::Stream(Encoding::Gzip),
        Coding::Stream(Encoding::Zstd),
    ] {
        let file = columns(None, Some(coding)).file(&chunk).unwrap();
        assert!(
            file.len() < plain.len() / 2,
            "{coding:?}: {} of {}",
            file.len(),
            plain.len()
        );
        assert_eq!(read(file), want);
    }
}

fn value() -> impl Strategy<Value = Given> {
    let bytes = || vec(any::<u8>(), 0..12);
    let leaf = prop_oneof![
        Just(Given::Nil),
        any::<bool>().prop_map(Given::Bool),
        any::<i64>().prop_map(Given::Int),
        (-5i64..5).prop_map(Given::Int),
        ((1u64 << 63)..).prop_map(Given::UInt),
        any::<f32>().prop_map(Given::F32),
        any::<f64>().prop_map(Given::F64),
        "\\PC{0,12}".prop_map(|text| Given::Str(text.into())),
        bytes().prop_map(Given::Str),
        bytes().prop_map(Given::Bin),
        bytes().prop_map(Given::Ext),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Given::List),
            vec((inner.clone(), inner), 0..4).prop_map(Given::Map),
        ]
    })
}

/// Keys that most values come under with few others, and some with all.
fn pair() -> impl Strategy<Value = (Given, Given)> {
    let of = |key: &'static str| move |value| (text(key), value);
    prop_oneof![
        3 => any::<bool>().prop_map(Given::Bool).prop_map(of("b")),
        3 => any::<i64>().prop_map(Given::Int).prop_map(of("i")),
        3 => prop_oneof![
            any::<i32>().prop_map(|n| Given::Int(n.into())),
            any::<f64>().prop_map(Given::F64),
        ].prop_map(of("d")),
        3 => "\\PC{0,30}".prop_map(|log| (text("log"), text(&log))),
        2 => value().prop_map(of("any")),
        1 => value().prop_map(of("")),
        2 => (value(), value()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Guarantees: every value of every record is found again, in its row and under its name, and nothing
    /// else is.
    #[test]
    fn every_value_is_found_again(
        rows in vec(vec(pair(), 0..8), 1..60),
        cells_max in 1usize..100,
        coding in prop_oneof![
            Just(None),
            Just(Some(Coding::Snappy)),
            Just(Some(Coding::Stream(Encoding::Gzip))),
            Just(Some(Coding::Stream(Encoding::Zstd))),
        ],
    ) {
        let file = columns(None, coding).file_of(&chunk(&rows), cells_max).unwrap();
        let found = read(file);
        prop_assert_eq!(found.len(), rows.len());
        // What each row has under each name: the last one.
        let wanted: Vec<HashMap<String, &Given>> = rows
            .iter()
            .map(|row| row.iter().map(|(key, value)| (key.text(), value)).collect())
            .collect();
        let nil = Given::Nil;
        let mut under: HashMap<&str, Vec<&Given>> = HashMap::new();
        for (name, value) in wanted.iter().flatten().filter(|(_, value)| ***value != nil) {
            under.entry(name).or_default().push(value);
        }
        for (found, wanted) in found.iter().zip(&wanted) {
            let names: Vec<_> = found.iter().map(|(name, _)| name).collect();
            for name in wanted.keys() {
                prop_assert!(names.contains(&name), "{} is missing", name);
            }
            for (name, field) in found {
                let given = wanted.get(name).copied().unwrap_or(&nil);
                let all = under.get(name.as_str()).map_or(&[][..], Vec::as_slice);
                let is_found = given.is_found(Some(field), all);
                prop_assert!(is_found, "{}: {:?} became {:?}", name, given, field);
            }
        }
    }
}
