//! The other intrinsic functions: texts, lists, mappings.

use super::resolve::{Resolver, TEXT_MAX, is_dynamic, like, placed};
use super::{errors, parameters};
use crate::source::{Node, Value};

impl Resolver<'_, '_> {
    /// Runs an intrinsic; nothing where it gives `AWS::NoValue`.
    pub(super) fn call(&mut self, name: &str, argument: &Node, node: &Node) -> Option<Node> {
        match name {
            "Ref" => self.reference(argument, node),
            "Fn::GetAtt" => self.attribute(argument, node),
            "Fn::Sub" => self.substitute(argument, node),
            "Fn::If" => self.choose(argument, node),
            "Fn::Join" => Some(self.join(argument, node)),
            "Fn::Select" => Some(self.select(argument, node)),
            "Fn::Split" => Some(self.split(argument, node)),
            "Fn::FindInMap" => Some(self.find(argument, node)),
            "Fn::ImportValue" => Some(self.import(argument, node)),
            "Fn::Base64" => Some(self.base64(argument, node)),
            "Fn::Length" => Some(self.length(argument, node)),
            "Fn::ToJsonString" => Some(self.json(argument, node)),
            "Fn::GetStackOutput" => Some(self.output(argument, node)),
            "Fn::GetAZs" | "Fn::Cidr" => {
                let argument = self.whole(argument);
                let parts: Vec<&Node> = match argument.items() {
                    [] => vec![&argument],
                    items => items.iter().collect(),
                };
                Some(self.hole_of(name, &parts, node))
            }
            _ => Some(self.no_function(name, node)),
        }
    }

    fn no_function(&mut self, name: &str, node: &Node) -> Node {
        const KNOWN: [&str; 16] = [
            "Ref",
            "Fn::Base64",
            "Fn::Cidr",
            "Fn::FindInMap",
            "Fn::GetAtt",
            "Fn::GetAZs",
            "Fn::GetStackOutput",
            "Fn::If",
            "Fn::ImportValue",
            "Fn::Join",
            "Fn::Length",
            "Fn::Select",
            "Fn::Split",
            "Fn::Sub",
            "Fn::ToJsonString",
            "Fn::Transform",
        ];
        let shown = parameters::short(name);
        let told = match name {
            "Fn::Equals" | "Fn::And" | "Fn::Or" | "Fn::Not" => {
                let message = format!("`{name}` decides a condition and gives no value");
                errors::malformed(node.span, message)
                    .help("put it under `Conditions` and choose with `Fn::If`")
            }
            _ => {
                let help = match self.near(name, KNOWN.into_iter()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known are {}", KNOWN.join(", ")),
                };
                let words = format!("Template error: Encountered unsupported function: {shown}");
                errors::malformed(node.span, format!("there is no intrinsic function `{shown}`"))
                    .outcome(errors::refused(words))
                    .help(help)
            }
        };
        self.tell(told);
        self.hole_of(&shown, &[], node)
    }

    /// Tells that arguments are not what a function takes, and stands in for its value.
    fn refuse(&mut self, name: &str, node: &Node, message: &str, words: &str, help: &str) -> Node {
        let told = errors::malformed(node.span, message);
        let told = match words {
            "" => told,
            words => told.outcome(errors::refused(format!("Template error: {words}"))),
        };
        self.tell(told.help(help));
        self.hole(name, node)
    }

    fn join(&mut self, argument: &Node, node: &Node) -> Node {
        let mut parts: Option<Vec<Node>> = None;
        let mut delimiter = None;
        if let [first, list] = argument.items() {
            delimiter = Some(self.whole(first));
            let list = self.whole(list);
            parts = match list.value {
                Value::List(items) => Some(items),
                _ if list.open => return self.hole_of("Fn::Join", &[&list], node),
                _ => None,
            };
        }
        let delimiter = delimiter
            .as_ref()
            .and_then(|node| Some((node.scalar()?, node.open)));
        let texts = parts.filter(|parts| parts.iter().all(|part| part.scalar().is_some()));
        let (Some((delimiter, mut open)), Some(texts)) = (delimiter, texts) else {
            let words = "every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list \
                         of strings to be joined or a function that returns a list of strings (such as \
                         Fn::GetAZs) to be joined.";
            let message = "`Fn::Join` takes a text and a list of texts";
            return self.refuse("Fn::Join", node, message, words, "write `!Join [\",\", [a, b]]`");
        };
        let mut out = String::new();
        for (at, part) in texts.iter().enumerate() {
            if at > 0 {
                out.push_str(delimiter);
            }
            out.push_str(part.scalar().unwrap_or_default());
            open |= part.open;
            if out.len() > TEXT_MAX {
                break;
            }
        }
        self.text(out, open, node)
    }

    fn select(&mut self, argument: &Node, node: &Node) -> Node {
        let words = "Fn::Select requires a list argument with two elements: an integer index and a list";
        let message = "`Fn::Select` takes a whole number and a list";
        let help = "write `!Select [0, [a, b]]`; the first element is 0";
        let [index, list] = argument.items() else {
            return self.refuse("Fn::Select", node, message, words, help);
        };
        let (index, list) = (self.whole(index), self.whole(list));
        if index.open || list.open {
            return self.hole_of("Fn::Select", &[&index, &list], node);
        }
        let number = index.scalar().and_then(|text| text.trim().parse::<usize>().ok());
        let (Some(number), Value::List(items)) = (number, list.value) else {
            return self.refuse("Fn::Select", node, message, words, help);
        };
        let count = items.len();
        if let Some(item) = items.into_iter().nth(number) {
            return placed(item, node);
        }
        let message = format!("the list has {count} elements, none at {number}");
        let words = format!("Template error: Fn::Select cannot select nonexistent value at index {number}");
        let told = errors::missed(index.span, message).outcome(errors::refused(words));
        self.tell(told.help("the first element is 0"));
        self.hole("Fn::Select", node)
    }

    fn split(&mut self, argument: &Node, node: &Node) -> Node {
        let words = "every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be \
                     split or a function that returns a string to be split.";
        let message = "`Fn::Split` takes a text between the parts, and a text";
        let help = "write `!Split [\",\", \"a,b\"]`";
        let [delimiter, text] = argument.items() else {
            return self.refuse("Fn::Split", node, message, words, help);
        };
        let (delimiter, text) = (self.whole(delimiter), self.whole(text));
        if delimiter.open || text.open {
            return self.hole_of("Fn::Split", &[&delimiter, &text], node);
        }
        let (Some(between), Some(text)) = (delimiter.scalar().filter(|text| !text.is_empty()), text.scalar())
        else {
            return self.refuse("Fn::Split", node, message, words, help);
        };
        let mut items = Vec::new();
        for part in text.split(between) {
            if !self.spend(part.len(), node.span) {
                break;
            }
            items.push(like(node, Value::String(part.into())));
        }
        like(node, Value::List(items))
    }

    fn find(&mut self, argument: &Node, node: &Node) -> Node {
        let help = "write `!FindInMap [Mapping, Key, Name]`";
        let (names, default) = match argument.items() {
            [map, first, second] => ([map, first, second], None),
            [map, first, second, rest] if rest.get("DefaultValue").is_some() => {
                if !self.template.extensions && !self.template.macros {
                    let told = errors::needs_transform(rest.span, "`DefaultValue` of `Fn::FindInMap`");
                    self.tell(told);
                }
                ([map, first, second], rest.get("DefaultValue"))
            }
            _ => {
                let words = "every Fn::FindInMap object requires three parameters, the map name, map key and the \
                             attribute for return value";
                let message = "`Fn::FindInMap` takes a mapping and two keys";
                return self.refuse("Fn::FindInMap", node, message, words, help);
            }
        };
        let nodes = names.map(|name| self.whole(name));
        if nodes.iter().any(|name| name.open) {
            return self.hole_of("Fn::FindInMap", &nodes.each_ref(), node);
        }
        let texts: Vec<&str> = nodes.iter().filter_map(Node::scalar).collect();
        let [map, first, second] = texts.as_slice() else {
            return self.refuse("Fn::FindInMap", node, "`Fn::FindInMap` takes texts", "", help);
        };
        match (self.mapped(map, first, second), default) {
            (Some(value), _) => placed(value, node),
            (None, Some(default)) => placed(self.whole(default), node),
            (None, None) => {
                self.not_mapped([map, first, second], &nodes, node);
                self.hole_of("Fn::FindInMap", &nodes.each_ref(), node)
            }
        }
    }

    /// A text or a list of texts in a mapping.
    fn mapped(&mut self, map: &str, first: &str, second: &str) -> Option<Node> {
        let template = self.template;
        let mapping = &template.mappings.get(*template.index.mappings.get(map)?)?.value;
        // Both are looked through from end to end.
        self.spend(mapping.pairs().len(), mapping.span);
        let inner = mapping.get(first)?;
        self.spend(inner.pairs().len(), inner.span);
        let value = inner.get(second)?;
        let copy = |scalar: &Node| {
            let text = scalar.scalar()?;
            let mut out = scalar.clone();
            out.open |= is_dynamic(text);
            Some(out)
        };
        match &value.value {
            Value::List(items) => {
                let mut out = Vec::new();
                for item in items {
                    let scalar = copy(item)?;
                    if !self.spend(scalar.scalar().map_or(0, str::len), item.span) {
                        break;
                    }
                    out.push(scalar);
                }
                Some(like(value, Value::List(out)))
            }
            _ => {
                let scalar = copy(value)?;
                self.spend(scalar.scalar().map_or(0, str::len), value.span)
                    .then_some(scalar)
            }
        }
    }

    fn not_mapped(&mut self, [map, first, second]: [&str; 3], nodes: &[Node; 3], node: &Node) {
        let template = self.template;
        let found = template.index.mappings.get(map);
        let mapping = found.and_then(|at| template.mappings.get(*at));
        let Some(mapping) = mapping.map(|pair| &pair.value) else {
            let near = self.near(map, template.index.mappings.keys().map(String::as_str));
            let help = near.map(|near| format!("did you mean `{near}`?"));
            let shown = parameters::short(map);
            let words = format!(
                "Template error: Mapping named '{shown}' is not present in the 'Mappings' section of template."
            );
            let told = errors::missed(nodes[0].span, format!("there is no mapping `{shown}`"));
            let told = told.outcome(errors::refused(words));
            self.tell(told.help(help.unwrap_or_else(|| "define it under `Mappings`".into())));
            return;
        };
        let (inner, name, at) = match mapping.get(first) {
            Some(inner) => (inner, second, nodes[2].span),
            None => (mapping, first, nodes[1].span),
        };
        let keys = inner.pairs().iter().map(|pair| pair.key.value.as_str());
        let help = match self.near(name, keys.clone()) {
            _ if inner.get(name).is_some() => "a mapping holds texts and lists of texts".into(),
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let some: Vec<String> = keys.take(20).map(parameters::short).collect();
                format!("it has {}", some.join(", "))
            }
        };
        let [map, first, second, name] = [map, first, second, name].map(parameters::short);
        let words = format!("Template error: Unable to get mapping for {map}::{first}::{second}");
        let at = if at == node.span { node.span } else { at };
        let told = errors::missed(at, format!("the mapping `{map}` has no value for `{name}`"));
        self.tell(told.outcome(errors::refused(words)).help(help));
    }

    fn import(&mut self, argument: &Node, node: &Node) -> Node {
        let name = self.whole(argument);
        let Some(text) = name.scalar() else {
            let message = "`Fn::ImportValue` takes the name of an export";
            return self.refuse(
                "Fn::ImportValue",
                node,
                message,
                "",
                "write a text or an intrinsic that gives one",
            );
        };
        let given = name.known().and_then(|name| self.template.env.get(name));
        match given {
            Some(value) if !text.is_empty() => self.text(value.to_string(), false, node),
            _ => self.hole_of("Fn::ImportValue", &[&name], node),
        }
    }

    fn output(&mut self, argument: &Node, node: &Node) -> Node {
        let mut part = |key: &str| argument.get(key).map(|part| self.whole(part));
        match (part("StackName"), part("OutputName")) {
            (Some(stack), Some(output)) if stack.scalar().is_some() && output.scalar().is_some() => {
                self.hole_of("Fn::GetStackOutput", &[&stack, &output], node)
            }
            _ => {
                let message = "`Fn::GetStackOutput` takes a map with `StackName` and `OutputName`";
                self.refuse("Fn::GetStackOutput", node, message, "", "write both as texts")
            }
        }
    }

    fn base64(&mut self, argument: &Node, node: &Node) -> Node {
        let value = self.whole(argument);
        match value.scalar() {
            Some(_) if value.open => self.hole_of("Fn::Base64", &[&value], node),
            Some(text) => self.text(base64(text.as_bytes()), false, node),
            None => {
                let words = "every Fn::Base64 object must have a String-typed value.";
                let message = "`Fn::Base64` takes a text";
                self.refuse(
                    "Fn::Base64",
                    node,
                    message,
                    words,
                    "make one text of a list with `Fn::Join`",
                )
            }
        }
    }

    fn length(&mut self, argument: &Node, node: &Node) -> Node {
        self.extension("`Fn::Length`", node);
        let value = self.whole(argument);
        match &value.value {
            Value::List(items) => like(node, Value::Number(items.len().to_string())),
            _ if value.open => self.hole_of("Fn::Length", &[&value], node),
            _ => self.refuse(
                "Fn::Length",
                node,
                "`Fn::Length` takes a list",
                "",
                "write a list",
            ),
        }
    }

    fn json(&mut self, argument: &Node, node: &Node) -> Node {
        self.extension("`Fn::ToJsonString`", node);
        let value = self.whole(argument);
        match &value.value {
            Value::List(_) | Value::Map(_) => {
                let (mut out, mut open) = (String::new(), false);
                print(&value, &mut out, &mut open);
                self.text(out, open, node)
            }
            _ if value.open => self.hole_of("Fn::ToJsonString", &[&value], node),
            _ => {
                let message = "`Fn::ToJsonString` takes a list or a map";
                self.refuse("Fn::ToJsonString", node, message, "", "write a text as it is")
            }
        }
    }

    fn extension(&mut self, name: &str, node: &Node) {
        if !self.template.extensions && !self.template.macros {
            self.tell(errors::needs_transform(node.span, name));
        }
    }
}

/// A value as JSON without blanks.
fn print(node: &Node, out: &mut String, open: &mut bool) {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    *open |= node.open;
    if out.len() > TEXT_MAX {
        return;
    }
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(on) => out.push_str(if *on { "true" } else { "false" }),
        Value::Number(text) if serde_json::from_str::<serde_json::Number>(text).is_ok() => out.push_str(text),
        Value::Number(text) | Value::String(text) => out.push_str(&quoted(text)),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                print(item, out, open);
            }
            out.push(']');
        }
        Value::Map(pairs) => {
            out.push('{');
            for (at, pair) in pairs.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&quoted(&pair.key.value));
                out.push(':');
                print(&pair.value, out, open);
            }
            out.push('}');
        }
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
            out.push(if at as usize <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads() {
        let check = |text: &str, want: &str| assert_eq!(base64(text.as_bytes()), want);
        check("", "");
        check("f", "Zg==");
        check("fo", "Zm8=");
        check("foo", "Zm9v");
        check("foobar", "Zm9vYmFy");
    }
}
