//! Definitions in random formatting: an amendment changes what it says and nothing else.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::edit::{Editor, Step, same, says};
use super::*;
use crate::source::{Node, Value};

/// Choices from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }
}

const TEXTS: &[&str] = &[
    "nginx:1.27",
    "a: b",
    "# no comment",
    "true",
    "010",
    "it's",
    "ä \"ö\" \\ ß",
    "two\nlines\n",
    "[x, {y}]",
    "-",
    "",
    "${X}",
    "arn:aws:iam::111122223333:role/r",
];

fn container(dice: &mut Dice, name: &str) -> Json {
    let mut all = Map::new();
    all.insert("name".into(), name.into());
    for key in [
        "image",
        "logConfiguration",
        "environment",
        "dependsOn",
        "dockerLabels",
        "stopTimeout",
        "command",
    ] {
        if dice.roll(2) == 0 {
            continue;
        }
        let text = |dice: &mut Dice| Json::from(dice.pick(TEXTS));
        let value = match key {
            "logConfiguration" => {
                let options = json!({"awslogs-group": text(dice), "awslogs-region": "eu-west-1"});
                json!({"logDriver": "awslogs", "options": options})
            }
            "environment" => json!([{"name": "A", "value": text(dice)}, {"name": "B", "value": text(dice)}]),
            "dependsOn" if dice.roll(3) == 0 => json!([]),
            "dependsOn" => json!([{"containerName": "other", "condition": "START"}]),
            "dockerLabels" => json!({"a.b": text(dice), "x y": {}, "z": []}),
            "stopTimeout" => json!(dice.roll(200)),
            "command" => json!([text(dice), "-c", ["nested", [text(dice)]]]),
            _ => text(dice),
        };
        all.insert(key.into(), value);
    }
    let at = dice.roll(all.len());
    if at > 0 {
        // The name need not be first.
        let name = all.shift_remove("name").unwrap_or_default();
        all.shift_insert(at, "name".into(), name);
    }
    Json::Object(all)
}

/// A task definition, or a template, or the list alone.
fn document(dice: &mut Dice) -> Json {
    let names = ["app", "web", "db", "job"];
    let count = 1 + dice.roll(names.len());
    let containers: Vec<_> = names[..count].iter().map(|name| container(dice, name)).collect();
    if dice.roll(5) == 0 {
        return Json::Array(containers);
    }
    let mut task = Map::new();
    if dice.roll(3) > 0 {
        task.insert("family".into(), "shop".into());
    }
    task.insert("containerDefinitions".into(), Json::Array(containers));
    if dice.roll(2) == 0 {
        task.insert(
            "networkMode".into(),
            dice.pick(&["awsvpc", "bridge", "host"]).into(),
        );
    }
    let task = Json::Object(task);
    match dice.roll(3) {
        0 => task,
        1 => json!({"taskDefinition": task, "tags": []}),
        _ => {
            let properties = spelled(&task, Form::Cfn);
            json!({"Resources": {"Task": {"Type": "AWS::ECS::TaskDefinition", "Properties": properties}},
                "Outputs": {"x": {"Value": "y"}}})
        }
    }
}

/// JSON with blanks and line ends anywhere.
fn json_text(dice: &mut Dice, value: &Json, gaps: &[&str], out: &mut String) {
    let gap = |dice: &mut Dice, out: &mut String| out.push_str(dice.pick(gaps));
    gap(dice, out);
    match value {
        Json::Object(map) => {
            out.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                gap(dice, out);
                out.push_str(&Json::from(key.as_str()).to_string());
                gap(dice, out);
                out.push(':');
                json_text(dice, value, gaps, out);
            }
            out.push('}');
        }
        Json::Array(items) => {
            out.push('[');
            for (index, value) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                json_text(dice, value, gaps, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
    gap(dice, out);
}

/// YAML in blocks and brackets, with comments.
struct Yaml<'a> {
    dice: &'a mut Dice,
    step: usize,
    dash: usize,
    item: usize,
    out: String,
}

impl Yaml<'_> {
    fn comment(&mut self) {
        let end = self.dice.pick(&["\n", "\n", "   # kept\n", "\n\n", "\n# kept\n"]);
        self.out.push_str(end);
    }

    fn flow(&mut self, value: &Json) {
        let gaps = [&[""][..], &[" "][..]];
        let gaps = gaps[self.dice.roll(2)];
        let mut out = String::new();
        json_text(self.dice, value, gaps, &mut out);
        self.out.push_str(out.trim());
    }

    /// A value behind a key or dash.
    fn value(&mut self, value: &Json, key: usize, inner: usize) {
        match value {
            Json::Object(map) if !map.is_empty() && self.dice.roll(6) > 0 => {
                self.comment();
                self.map(map, inner, true);
            }
            Json::Array(items) if !items.is_empty() && self.dice.roll(6) > 0 => {
                self.comment();
                self.list(items, key + self.dash);
            }
            Json::String(text) if text.ends_with('\n') && self.dice.roll(2) == 0 => {
                let pad = " ".repeat(inner);
                self.out.push_str(" |\n");
                for line in text.lines() {
                    let _ = writeln!(self.out, "{pad}{line}");
                }
            }
            Json::String(text) if text == "nginx:1.27" => {
                let _ = write!(self.out, " {text}");
                self.comment();
            }
            Json::String(text) if !text.contains(['\n', '\'']) && self.dice.roll(2) == 0 => {
                let _ = write!(self.out, " '{text}'");
                self.comment();
            }
            other => {
                self.out.push(' ');
                self.flow(other);
                self.comment();
            }
        }
    }

    fn map(&mut self, map: &Map<String, Json>, indent: usize, mut pad: bool) {
        for (key, value) in map {
            let key = match key.contains(' ') {
                true => format!("'{key}'"),
                false => key.clone(),
            };
            let blanks = if pad { indent } else { 0 };
            let _ = write!(self.out, "{}{key}:", " ".repeat(blanks));
            self.value(value, indent, indent + self.step);
            pad = true;
        }
    }

    fn list(&mut self, items: &[Json], indent: usize) {
        for item in items {
            let _ = write!(self.out, "{}-", " ".repeat(indent));
            match item {
                Json::Object(map) if !map.is_empty() && self.dice.roll(6) > 0 => {
                    self.out.push_str(&" ".repeat(self.item - 1));
                    self.map(map, indent + self.item, false);
                }
                Json::Array(_) | Json::Object(_) => {
                    self.out.push_str(&" ".repeat(self.item - 1));
                    self.flow(item);
                    self.comment();
                }
                other => self.value(other, indent, indent + self.item),
            }
        }
    }
}

fn yaml_text(dice: &mut Dice, value: &Json) -> String {
    let (step, item) = (2 + dice.roll(3), 2 + dice.roll(3));
    let dash = dice.pick(&[0, step]);
    let crlf = dice.roll(4) == 0;
    let mut yaml = Yaml {
        dice,
        step,
        dash,
        item,
        out: String::new(),
    };
    match value {
        Json::Object(map) => yaml.map(map, 0, true),
        Json::Array(items) => yaml.list(items, 0),
        _ => {}
    }
    if crlf {
        yaml.out.replace('\n', "\r\n")
    } else {
        yaml.out
    }
}

/// The list of containers.
fn list_of(node: &mut Node) -> &mut Vec<Node> {
    const WAY: [&str; 6] = [
        "Resources",
        "Task",
        "Properties",
        "taskDefinition",
        "ContainerDefinitions",
        "containerDefinitions",
    ];
    match &mut node.value {
        Value::List(items) => items,
        Value::Map(pairs) => {
            let mut pairs = pairs.iter_mut();
            let pair = pairs.find(|pair| WAY.contains(&pair.key.value.as_str()));
            list_of(&mut pair.unwrap().value)
        }
        _ => panic!("no list"),
    }
}

/// Without what an amendment is about.
fn without(mut root: Node, router: bool) -> Node {
    let list = list_of(&mut root);
    if router {
        list.remove(0);
    }
    for item in list {
        if let Value::Map(pairs) = &mut item.value {
            let own = ["logconfiguration", "dependson"];
            pairs.retain(|pair| !own.contains(&pair.key.value.to_ascii_lowercase().as_str()));
        }
    }
    root
}

fn check_amended(text: &str, grammar: Grammar) {
    let request = Request {
        to: "cloudwatch".into(),
        options: vec![("log_key".into(), "log".into())],
        ..Request::default()
    };
    let read = |text: &str| Editor::new(SourceId(1), text, grammar).unwrap();
    let before = read(text);
    let written = amend(&request, SourceId(1), text, grammar);
    let written = written.unwrap_or_else(|faults| panic!("{faults:?}\n{text}")).text;
    let after = read(&written);
    let (old, new) = (
        without(before.root().clone(), false),
        without(after.root().clone(), true),
    );
    assert!(same(&old, &new), "{text}\n=====\n{written}");
    let list = list_of(&mut after.root().clone()).clone();
    for item in &list[1..] {
        let driver = json!("awsfirelens");
        let form = if item.get("Name").is_some() {
            Form::Cfn
        } else {
            Form::Cli
        };
        let log = item.get(&form.written("logConfiguration")).unwrap();
        assert!(says(log.get(&form.written("logDriver")).unwrap(), &driver));
        assert!(!item.get(&form.written("dependsOn")).unwrap().items().is_empty());
    }
    // Every line that is not about a log stays, in its order; comments inside a replaced one go with it.
    if !text.to_ascii_lowercase().contains("logconfiguration") {
        let mut rest = written.lines();
        for line in text.lines().filter(|line| line.trim() == "# kept") {
            assert!(
                rest.any(|other| other == line),
                "{line:?} is gone\n{text}\n=====\n{written}"
            );
        }
    }
    let again = amend(&request, SourceId(1), &written, grammar).unwrap();
    assert_eq!(again.text, written, "not the same when run twice");
}

proptest! {
    // Each case reads its text some twenty times.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Guarantees: JSON with blanks anywhere is amended, stays JSON, and keeps all that is not about logs.
    #[test]
    fn json_keeps_the_rest(seed in 1..u64::MAX) {
        let mut dice = Dice(seed);
        let value = document(&mut dice);
        let gaps: [&[&str]; 6] =
            [&[""], &[" "], &["", " ", "\n"], &["\n  "], &["\n\t", ""], &["\r\n    ", " ", ""]];
        let gaps = dice.pick(&gaps);
        let mut text = String::new();
        match dice.roll(3) {
            0 => text = serde_json::to_string_pretty(&value).unwrap(),
            _ => json_text(&mut dice, &value, gaps, &mut text),
        }
        check_amended(&text, Grammar::Json);
        check_amended(&text, if text.contains('\t') { Grammar::Json } else { Grammar::Yaml });
    }

    /// Guarantees: the same of YAML in blocks and brackets, with comments and texts of several lines.
    #[test]
    fn yaml_keeps_the_rest(seed in 1..u64::MAX) {
        let mut dice = Dice(seed);
        let value = document(&mut dice);
        let text = yaml_text(&mut dice, &value);
        check_amended(&text, Grammar::Yaml);
    }

    /// Guarantees: whatever the text, there is an answer and no panic, and what comes out can be read.
    #[test]
    fn broken_texts_have_an_answer(
        seed in 1..u64::MAX,
        cut in 0..2000usize,
        put in "[\\]\\[{}:,\"' \n#&*!|-]{0,3}",
    ) {
        let mut dice = Dice(seed);
        let value = document(&mut dice);
        let yaml = dice.roll(2) == 0;
        let mut text = if yaml { yaml_text(&mut dice, &value) } else { value.to_string() };
        let at = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.insert_str(at, &put);
        let grammar = if yaml { Grammar::Yaml } else { Grammar::Json };
        let request = Request { to: "stdout".into(), ..Request::default() };
        if let Ok(written) = amend(&request, SourceId(1), &text, grammar) {
            prop_assert!(Editor::new(SourceId(1), &written.text, grammar).is_ok());
        }
    }
}

#[test]
fn steps_lead_where_they_say() {
    let editor = Editor::new(SourceId(1), "a: [x, {b: y}]", Grammar::Yaml).unwrap();
    let path = [Step::key("a"), Step::Item(1), Step::key("b")];
    assert_eq!(editor.at(&path).and_then(Node::scalar), Some("y"));
    assert!(editor.at(&[Step::Item(0)]).is_none());
}
