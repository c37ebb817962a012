//! Names of groups and streams: fixed, with variables `$(…)` as the Go plugin has them, or made by a template
//! of record accessors as the C plugin has them.
//!
//! | variable | stands for |
//! |---|---|
//! | `$(tag)`, `$(tag[1])` | the tag, its second part between dots |
//! | `$(key)`, `$(a['b'])` | a text, number or boolean of the record |
//! | `$(uuid)` | one random UUID for the whole run |
//! | `$(ecs_cluster)`, `$(ecs_task_id)`, `$(ecs_task_arn)` | this task, by its metadata endpoint |
//!
//! A template of which a part is missing gives way to the plain option; a plain option of which a variable
//! is missing gives way to the default name. What variables bring and the service does not take becomes a
//! dot; names end at 512 characters.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use firelane_core::{Cause, Chunk, GroupBy};
use firelane_record::accessor::{Accessor, Template, write_plain};
use firelane_record::msgpack::{self, Token};
use firelane_record::{Event, Tag};
use tracing::warn;

use super::task::{Task, TaskSource};

/// Most characters of a name (API reference, `CreateLogGroup` and `CreateLogStream`).
pub(super) const LEN_MAX: usize = 512;
/// Stands in a grouping key for what is the same in the whole process; names hold no control characters.
const SAME: u8 = 1;

/// What is named: each has its own characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Group,
    Stream,
}

impl Kind {
    /// Whether the service takes that byte in a name. Streams may hold controls too, which nobody means.
    fn takes(self, byte: u8) -> bool {
        match self {
            Self::Group => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/' | b'.' | b'#' | b'-'),
            Self::Stream => !byte.is_ascii_control() && !matches!(byte, b':' | b'*'),
        }
    }

    fn clean(self, text: &mut [u8]) {
        text.iter_mut()
            .filter(|byte| !self.takes(**byte))
            .for_each(|byte| *byte = b'.');
    }

    /// A finished name.
    fn finish(self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        text.chars().take(LEN_MAX).collect()
    }

    /// What is wrong with a text that was written as a name, or as a part of one.
    fn fault(self, text: &str) -> Option<String> {
        let bad = text.chars().find(|c| !c.is_ascii() && self == Self::Group);
        let bad = bad.or_else(|| text.bytes().find(|&byte| !self.takes(byte)).map(char::from));
        if let Some(bad) = bad {
            let rule = match self {
                Self::Group => "letters, digits and `_/.#-` only",
                Self::Stream => "no colons, asterisks or control characters",
            };
            return Some(format!("{bad:?} cannot be in the name: {rule}"));
        }
        (text.chars().count() > LEN_MAX).then(|| format!("a name has {LEN_MAX} characters at most"))
    }
}

/// What is the same for all records of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Uuid,
    Cluster,
    TaskId,
    TaskArn,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Tag,
    TagPart(usize),
    Value(Accessor),
    Fact(Fact),
}

/// How one name is made.
#[derive(Debug)]
pub(super) struct Name {
    kind: Kind,
    template: Option<Template>,
    pieces: Vec<Piece>,
    default: String,
}

/// The facts of this process, as far as they are known.
#[derive(Debug, Clone, Copy)]
struct Facts<'a> {
    uuid: &'a str,
    task: Option<&'a Task>,
}

impl<'a> Facts<'a> {
    fn get(self, fact: Fact) -> Option<&'a str> {
        let text = match fact {
            Fact::Uuid => self.uuid,
            Fact::Cluster => &self.task?.cluster,
            Fact::TaskId => self.task?.id(),
            Fact::TaskArn => &self.task?.arn,
        };
        Some(text).filter(|text| !text.is_empty())
    }
}

impl Name {
    /// A name by its option, in which `$(…)` are variables; with `prefix` the tag stands behind it.
    /// `default` is taken where a variable is missing.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(kind: Kind, text: &str, prefix: bool, default: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("$(") {
            let (literal, behind) = rest.split_at(start);
            let Some((variable, after)) = behind[2..].split_once(')') else {
                return Err("a variable that begins with `$(` ends with `)`".to_owned());
            };
            if !literal.is_empty() {
                pieces.push(Piece::Text(literal.to_owned()));
            }
            pieces.push(variable_of(variable)?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        for piece in &pieces {
            if let Piece::Text(text) = piece
                && let Some(fault) = kind.fault(text)
            {
                return Err(fault);
            }
        }
        if prefix {
            pieces.push(Piece::Tag);
        }
        Ok(Self {
            kind,
            template: None,
            pieces,
            default: default.to_owned(),
        })
    }

    /// With a template that goes first.
    pub(super) fn with_template(mut self, template: Option<Template>) -> Self {
        self.template = template;
        self
    }

    /// Whether it has variables that a record may lack: only then a default name is needed.
    pub(super) fn may_miss(&self) -> bool {
        let plain = |piece: &Piece| matches!(piece, Piece::Text(_) | Piece::Tag);
        !self.pieces.iter().all(plain)
    }

    fn group_by(&self) -> GroupBy {
        let of_record = |piece: &Piece| matches!(piece, Piece::Value(_));
        let of_tag = |piece: &Piece| matches!(piece, Piece::Tag | Piece::TagPart(_));
        let template = self.template.as_ref();
        if self.pieces.iter().any(of_record) || template.is_some_and(Template::needs_record) {
            GroupBy::Record
        } else if self.pieces.iter().any(of_tag) || template.is_some_and(|t| !t.is_constant()) {
            GroupBy::Tag
        } else {
            GroupBy::All
        }
    }

    fn needs_task(&self) -> bool {
        let of_task = |piece: &Piece| matches!(piece, Piece::Fact(fact) if *fact != Fact::Uuid);
        self.pieces.iter().any(of_task)
    }

    /// Appends the name for a record; false if it is not the one that was asked for first. Without `facts`
    /// a mark stands for each.
    fn write(&self, tag: &Tag, event: &Event<'_>, facts: Option<Facts<'_>>, out: &mut Vec<u8>) -> bool {
        let from = out.len();
        if let Some(template) = &self.template {
            if template.render(tag, event, &[], out) && out.len() > from {
                self.kind.clean(&mut out[from..]);
                return true;
            }
            out.truncate(from);
        }
        if self.write_pieces(tag, event, facts, out) && out.len() > from {
            return self.template.is_none();
        }
        out.truncate(from);
        out.extend_from_slice(self.default.as_bytes());
        false
    }

    fn write_pieces(
        &self,
        tag: &Tag,
        event: &Event<'_>,
        facts: Option<Facts<'_>>,
        out: &mut Vec<u8>,
    ) -> bool {
        for piece in &self.pieces {
            let from = out.len();
            let bytes = match piece {
                Piece::Text(text) => Some(text.as_bytes()),
                Piece::Tag => Some(tag.as_bytes()),
                Piece::TagPart(n) => tag.part(*n),
                Piece::Value(accessor) => match accessor.lookup(event) {
                    Some(raw) if is_plain(raw) && write_plain(out, raw) => Some(&[][..]),
                    _ => None,
                },
                Piece::Fact(fact) => match facts {
                    None => {
                        out.push(SAME);
                        continue;
                    }
                    Some(facts) => facts.get(*fact).map(str::as_bytes),
                },
            };
            let Some(bytes) = bytes else { return false };
            out.extend_from_slice(bytes);
            if !matches!(piece, Piece::Text(_)) {
                self.kind.clean(&mut out[from..]);
            }
        }
        true
    }
}

/// Whether a value can be part of a name.
fn is_plain(raw: &[u8]) -> bool {
    !matches!(
        msgpack::read(raw),
        None | Some((
            Token::Nil | Token::Map(_) | Token::Array(_) | Token::Ext(..) | Token::Bin(_),
            _
        ))
    )
}

/// What stands between `$(` and `)`.
fn variable_of(text: &str) -> Result<Piece, String> {
    Ok(match text {
        "uuid" => Piece::Fact(Fact::Uuid),
        "ecs_cluster" => Piece::Fact(Fact::Cluster),
        "ecs_task_id" => Piece::Fact(Fact::TaskId),
        "ecs_task_arn" => Piece::Fact(Fact::TaskArn),
        "tag" => Piece::Tag,
        _ => match text.split_once('[') {
            Some(("tag", index)) => {
                let index = index.strip_suffix(']').and_then(|index| index.parse().ok());
                Piece::TagPart(
                    index.ok_or_else(|| format!("`$({text})`: a part of the tag is written `$(tag[0])`"))?,
                )
            }
            Some(_) => Piece::Value(
                Accessor::parse(&format!("${text}")).map_err(|error| format!("`$({text})`: {error}"))?,
            ),
            None if text.is_empty() => return Err("`$()` names nothing".to_owned()),
            None => Piece::Value(Accessor::key(text)),
        },
    })
}

/// Group and stream of some records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) group: String,
    pub(super) stream: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stream `{}` of group `{}`", self.stream, self.group)
    }
}

/// How groups and streams of an instance are named.
#[derive(Debug)]
pub(super) struct Names {
    group: Name,
    stream: Name,
    task: TaskSource,
    uuid: OnceLock<String>,
    /// It was said that another name was taken.
    told: AtomicBool,
}

impl Names {
    /// By the names of both.
    pub(super) fn new(group: Name, stream: Name, task: TaskSource) -> Self {
        Self {
            group,
            stream,
            task,
            uuid: OnceLock::new(),
            told: AtomicBool::new(false),
        }
    }

    /// What the names depend on.
    pub(super) fn group_by(&self) -> GroupBy {
        match (self.group.group_by(), self.stream.group_by()) {
            (GroupBy::Record, _) | (_, GroupBy::Record) => GroupBy::Record,
            (GroupBy::Tag, _) | (_, GroupBy::Tag) => GroupBy::Tag,
            _ => GroupBy::All,
        }
    }

    /// A key that is the same only for records of one group and stream.
    pub(super) fn key(&self, tag: &Tag, event: &Event<'_>) -> Vec<u8> {
        let mut key = Vec::with_capacity(96);
        self.group.write(tag, event, None, &mut key);
        key.push(0);
        self.stream.write(tag, event, None, &mut key);
        key
    }

    /// Where a chunk goes, by its first event; none if it holds no log event. The task is asked for at the
    /// first use.
    pub(super) async fn of(&self, chunk: &Chunk, instance: &str) -> Result<Option<Place>, Cause> {
        let needs_task = self.group.needs_task() || self.stream.needs_task();
        let task = if needs_task { self.task.get().await? } else { None };
        let first = chunk.events().find(|(_, event)| !event.time.is_group_marker());
        let Some((tag, event)) = first else {
            return Ok(None);
        };
        let facts = Facts {
            uuid: self.uuid.get_or_init(uuid),
            task,
        };
        let mut whole = true;
        let mut name = |name: &Name| {
            let mut bytes = Vec::new();
            whole &= name.write(tag, &event, Some(facts), &mut bytes);
            name.kind.finish(&bytes)
        };
        let place = Place {
            group: name(&self.group),
            stream: name(&self.stream),
        };
        if !whole && !self.told.swap(true, Ordering::Relaxed) {
            let (group, stream) = (&place.group, &place.stream);
            warn!(target: "output", instance, group, stream,
                "part of the group's or stream's name is missing, such records go there (said once)");
        }
        Ok(Some(place))
    }
}

/// A random UUID, version 4. Unique, not secret.
fn uuid() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = || u128::from(RandomState::new().hash_one(std::process::id()));
    let bits = random() << 64 | random();
    let bits = bits & !(0xf000_u128 << 64) & !(0xc000_u128 << 48) | 0x4000_u128 << 64 | 0x8000_u128 << 48;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use firelane_core::Part;
    use firelane_record::{Records, RecordsBuf, Timestamp, json};

    const ARN: &str = "arn:aws:ecs:us-east-1:1:task/demo/0f1e";

    fn chunk(tag: &str, record: &str) -> Chunk {
        let mut buf = RecordsBuf::default();
        let mut raw = Vec::new();
        json::to_msgpack(record.as_bytes(), &mut raw).unwrap();
        buf.push(Timestamp::default(), None, &raw);
        let tag = Tag::new(tag).unwrap();
        let records: Records = buf.take();
        Chunk::new(vec![Part { tag, records }])
    }

    fn name(kind: Kind, text: &str, prefix: bool) -> Name {
        let default = match kind {
            Kind::Group => "default-group",
            Kind::Stream => "/default-stream",
        };
        Name::parse(kind, text, prefix, default).unwrap()
    }

    fn template(text: &str) -> Option<Template> {
        Some(Template::parse(text).unwrap())
    }

    /// The name for a record, in a task and outside of one.
    fn names_of(name: &Name, tag: &str, record: &str) -> [String; 2] {
        let task = Task {
            cluster: "demo".to_owned(),
            arn: ARN.to_owned(),
        };
        let chunk = chunk(tag, record);
        let (tag, event) = chunk.events().next().unwrap();
        [Some(&task), None].map(|task| {
            let mut out = Vec::new();
            name.write(tag, &event, Some(Facts { uuid: "u-1", task }), &mut out);
            name.kind.finish(&out)
        })
    }

    #[track_caller]
    fn check(kind: Kind, text: &str, record: &str, want: &str) {
        assert_eq!(
            names_of(&name(kind, text, false), "app.web:1", record)[0],
            want,
            "{text}"
        );
    }

    #[test]
    fn variables_stand_for_tag_record_and_task() {
        use Kind::{Group, Stream};
        let record = r#"{"k":"v:1","n":7,"ok":true,"f":1.5,"m":{"a":{"b":"deep"}},"e":"","z":null,"l":[1]}"#;
        check(Group, "/plain", record, "/plain");
        check(Group, "/x/$(tag)", record, "/x/app.web.1");
        check(Stream, "$(tag[1])-$(tag[0])", record, "web.1-app");
        check(Stream, "$(tag[2])", record, "/default-stream");
        check(Stream, "a $(k) b", record, "a v.1 b");
        check(Stream, "$(n)$(ok)", record, "7true");
        check(Group, "g/$(m['a']['b'])", record, "g/deep");
        for missing in ["$(m)", "$(m['a'])", "$(m['x'])", "$(none)", "$(z)", "$(l)"] {
            check(Group, &format!("g/{missing}"), record, "default-group");
        }
        check(Stream, "$(e)", record, "/default-stream");
        check(Stream, "x$(e)", record, "x");
        check(
            Group,
            "$(ecs_cluster)/$(ecs_task_id)/$(uuid)",
            record,
            "demo/0f1e/u-1",
        );
        check(
            Group,
            "$(ecs_task_arn)",
            record,
            "arn.aws.ecs.us-east-1.1.task/demo/0f1e",
        );
        let outside = names_of(&name(Stream, "$(ecs_task_id)", false), "t", "{}");
        assert_eq!(outside, ["0f1e", "/default-stream"]);
    }

    #[test]
    fn names_hold_only_what_the_service_takes() {
        let stream = name(Kind::Stream, "p/", true);
        assert_eq!(names_of(&stream, "a:b*c\n", "{}")[0], "p/a.b.c.");
        assert_eq!(names_of(&stream, "", "{}")[0], "p/");
        let long = "é".repeat(600);
        let cut = names_of(&stream, &long, "{}")[0].clone();
        assert_eq!(cut, format!("p/{}", "é".repeat(LEN_MAX - 2)));
        let group = name(Kind::Group, "$(tag)", false);
        assert_eq!(names_of(&group, "é b#", "{}")[0], "...b#");
    }

    #[test]
    fn a_template_goes_first_and_gives_way_as_a_whole() {
        let named = name(Kind::Stream, "fb-", true).with_template(template("$svc['name'].$source"));
        let record = r#"{"svc":{"name":"we:b"},"source":"stdout"}"#;
        assert_eq!(names_of(&named, "t", record)[0], "we.b.stdout");
        assert_eq!(names_of(&named, "t", r#"{"source":"stdout"}"#)[0], "fb-t");
        assert_eq!(
            names_of(&named, "t", r#"{"svc":{"name":""},"source":""}"#)[0],
            "."
        );
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for (kind, text, want) in [
            (
                Kind::Group,
                "a b",
                "' ' cannot be in the name: letters, digits and `_/.#-` only",
            ),
            (
                Kind::Group,
                "gé",
                "'é' cannot be in the name: letters, digits and `_/.#-` only",
            ),
            (
                Kind::Group,
                "$svc",
                "'$' cannot be in the name: letters, digits and `_/.#-` only",
            ),
            (
                Kind::Stream,
                "a:b",
                "':' cannot be in the name: no colons, asterisks or control characters",
            ),
            (
                Kind::Stream,
                "$(tag",
                "a variable that begins with `$(` ends with `)`",
            ),
            (Kind::Stream, "$()", "`$()` names nothing"),
            (
                Kind::Stream,
                "$(tag[x])",
                "`$(tag[x])`: a part of the tag is written `$(tag[0])`",
            ),
        ] {
            assert_eq!(Name::parse(kind, text, false, "").unwrap_err(), want);
        }
        assert!(Name::parse(Kind::Stream, &"x".repeat(513), false, "").is_err());
        assert!(Name::parse(Kind::Stream, "$(a['b)", false, "").is_err());
    }

    #[test]
    fn grouping_is_as_coarse_as_the_names_allow() {
        let of = |group: Name, stream: Name| Names::new(group, stream, TaskSource::new(None)).group_by();
        let group = || name(Kind::Group, "g", false);
        let stream = |text, prefix| name(Kind::Stream, text, prefix);
        assert_eq!(of(group(), stream("s-$(ecs_task_id)", false)), GroupBy::All);
        assert_eq!(of(group(), stream("s", true)), GroupBy::Tag);
        assert_eq!(of(group(), stream("$(tag[1])", false)), GroupBy::Tag);
        assert_eq!(of(group(), stream("$(k)", false)), GroupBy::Record);
        assert_eq!(
            of(group().with_template(template("$k")), stream("s", false)),
            GroupBy::Record
        );
        assert_eq!(
            of(group().with_template(template("$TAG[1]")), stream("s", false)),
            GroupBy::Tag
        );
    }

    #[test]
    fn keys_differ_where_names_do() {
        let stream = name(Kind::Stream, "$(a)$(ecs_cluster)$(b)", false);
        let names = Names::new(name(Kind::Group, "g$(b)", false), stream, TaskSource::new(None));
        let key = |record: &str| {
            let chunk = chunk("t", record);
            let (tag, event) = chunk.events().next().unwrap();
            names.key(tag, &event)
        };
        let keys = [
            key(r#"{"a":"x","b":"y"}"#),
            key(r#"{"a":"xy","b":""}"#),
            key(r#"{"a":"x\u0001","b":"y"}"#),
            key(r#"{"a":"x"}"#),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| other != one), "{one:?}");
        }
        assert_eq!(key(r#"{"a":"x","b":"y","c":1}"#), keys[0]);
    }

    #[tokio::test]
    async fn a_run_has_one_uuid() {
        let names = Names::new(
            name(Kind::Group, "g", false),
            name(Kind::Stream, "$(uuid)", false),
            TaskSource::new(None),
        );
        let of = async |tag: &str| names.of(&chunk(tag, "{}"), "x").await.unwrap().unwrap().stream;
        let one = of("a").await;
        assert_eq!(of("b").await, one);
        assert_ne!(uuid(), one);
        let parts: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{one}");
        assert_eq!(
            (&one[14..15], "89ab".contains(&one[19..20])),
            ("4", true),
            "{one}"
        );
    }
}
