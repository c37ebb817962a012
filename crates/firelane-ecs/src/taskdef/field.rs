//! How a model type is read from a tree and printed again: one declaration does both.

use firelane_conf::{Class, Diagnostic, Span, Spanned, suggest};
use serde_json::Value as Json;

use super::form::Form;
use crate::source::{Node, Value};
use crate::text::{Text, TextMap};

/// A whole number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Int {
    /// The number; 0 where only the deployment knows it.
    pub value: i64,
    /// Its place.
    pub span: Span,
    /// The text that only the deployment can fill, if it is one.
    pub open: Option<String>,
}

impl Int {
    /// The number, if it is known.
    pub fn known(&self) -> Option<i64> {
        self.open.is_none().then_some(self.value)
    }
}

/// A boolean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The value; `false` where only the deployment knows it.
    pub value: bool,
    /// Its place.
    pub span: Span,
    /// The text that only the deployment can fill, if it is one.
    pub open: Option<String>,
}

impl Flag {
    /// The value, if it is known.
    pub fn known(&self) -> Option<bool> {
        self.open.is_none().then_some(self.value)
    }
}

/// A field that firelane does not look into, or does not know: kept as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Extra {
    /// The key in the form of the CLI's JSON.
    pub key: Spanned<String>,
    /// What was written.
    pub node: Node,
    /// The form it was written in.
    pub form: Form,
}

/// Collects what is found while a tree is read.
pub(crate) struct Reader {
    pub(crate) form: Form,
    pub(crate) diagnostics: Vec<Diagnostic>,
    path: Vec<String>,
}

impl Reader {
    pub(crate) fn new(form: Form) -> Self {
        Self {
            form,
            diagnostics: Vec::new(),
            path: Vec::new(),
        }
    }

    /// Where the reader is: `containerDefinitions[0].memory`.
    fn place(&self) -> String {
        self.path.concat().trim_start_matches('.').to_string()
    }

    fn inside<T>(&mut self, segment: String, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let out = read(self);
        self.path.pop();
        out
    }

    /// A value of the wrong type. `python` is what the AWS CLI would have wanted.
    fn wrong_type(&mut self, node: &Node, wanted: &str, python: &str) {
        let place = self.place();
        let message = format!("`{place}` is {}, {wanted} is expected", node.kind());
        let mut diagnostic = Diagnostic::error("FL0505", Class::BadValue, message).at(node.span);
        diagnostic = match self.form {
            Form::Cli => {
                let (shown, class) = python_value(node);
                diagnostic.outcome(format!(
                    "the AWS CLI refuses it: Parameter validation failed: Invalid type for parameter {place}, \
                     value: {shown}, type: <class '{class}'>, valid types: <class '{python}'>"
                ))
            }
            Form::Cfn => diagnostic.outcome("CloudFormation refuses it when the stack is made or changed"),
        };
        let help = match (&node.value, python) {
            (Value::String(text), "int" | "bool") => format!("write `{text}` without quotes"),
            (Value::Number(text), "str") => format!("write `\"{text}\"` in quotes"),
            (Value::Bool(on), "str") => format!("write `\"{on}\"` in quotes"),
            (Value::Map(_), "list") => "put it into brackets: `[{…}]`".to_string(),
            _ => format!("write {wanted}"),
        };
        self.diagnostics.push(diagnostic.help(help));
    }
}

/// A value as Python shows it, and its class there.
fn python_value(node: &Node) -> (String, &'static str) {
    match &node.value {
        Value::Null => ("None".into(), "NoneType"),
        Value::Bool(true) => ("True".into(), "bool"),
        Value::Bool(false) => ("False".into(), "bool"),
        Value::Number(text) if text.contains(['.', 'e', 'E']) => (text.clone(), "float"),
        Value::Number(text) => (text.clone(), "int"),
        Value::String(text) => (text.clone(), "str"),
        Value::List(_) => ("[…]".into(), "list"),
        Value::Map(_) => ("{…}".into(), "dict"),
    }
}

/// A type that one value of the tree gives.
pub(crate) trait Field: Sized {
    /// Reads it; what is wrong goes to the reader.
    fn read(node: &Node, cx: &mut Reader) -> Option<Self>;
    /// As the CLI's JSON has it.
    fn print(&self) -> Json;
}

/// A type that a field of a struct may have: one value, several, or a map of texts.
pub(crate) trait Slot: Default {
    /// Reads it; what is wrong goes to the reader.
    fn fill(&mut self, node: &Node, cx: &mut Reader);
    /// As the CLI's JSON has it; nothing where nothing was given.
    fn print(&self) -> Option<Json>;
}

impl Field for Text {
    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = match (&node.value, cx.form) {
            (Value::String(text), _) => Some(text.as_str()),
            (_, Form::Cfn) => node.scalar(),
            _ => None,
        };
        let Some(text) = text else {
            cx.wrong_type(node, "a text", "str");
            return None;
        };
        Some(Self {
            value: text.to_string(),
            span: node.span,
            open: node.open,
        })
    }

    fn print(&self) -> Json {
        Json::String(self.value.clone())
    }
}

impl Field for Int {
    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let span = node.span;
        if node.open {
            let open = node.scalar().map(str::to_string);
            return Some(Self { value: 0, span, open });
        }
        let text = match (&node.value, cx.form) {
            (Value::Number(text), _) | (Value::String(text), Form::Cfn) => Some(text.trim()),
            _ => None,
        };
        let Some(value) = text.and_then(whole) else {
            cx.wrong_type(node, "a whole number", "int");
            return None;
        };
        let open = None;
        Some(Self { value, span, open })
    }

    fn print(&self) -> Json {
        match &self.open {
            Some(text) => Json::String(text.clone()),
            None => self.value.into(),
        }
    }
}

/// A whole number, also one written as `1.0`.
fn whole(text: &str) -> Option<i64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let cut = text
        .split_once('.')
        .filter(|(_, tail)| !tail.is_empty() && tail.bytes().all(|b| b == b'0'));
    cut.map_or(text, |(head, _)| head).parse().ok()
}

impl Field for Flag {
    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let span = node.span;
        if node.open {
            let open = node.scalar().map(str::to_string);
            return Some(Self {
                value: false,
                span,
                open,
            });
        }
        let value = match (&node.value, cx.form) {
            (Value::Bool(on), _) => Some(*on),
            (Value::String(text), Form::Cfn) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        };
        let Some(value) = value else {
            cx.wrong_type(node, "true or false", "bool");
            return None;
        };
        let open = None;
        Some(Self { value, span, open })
    }

    fn print(&self) -> Json {
        match &self.open {
            Some(text) => Json::String(text.clone()),
            None => self.value.into(),
        }
    }
}

impl<T: Field> Slot for Option<T> {
    fn fill(&mut self, node: &Node, cx: &mut Reader) {
        *self = match node.value {
            Value::Null => None,
            _ => T::read(node, cx),
        };
    }

    fn print(&self) -> Option<Json> {
        self.as_ref().map(Field::print)
    }
}

impl<T: Field> Slot for Vec<T> {
    fn fill(&mut self, node: &Node, cx: &mut Reader) {
        match &node.value {
            Value::Null => self.clear(),
            // A list whose elements only the deployment knows has none here.
            Value::String(_) if node.open => self.clear(),
            Value::List(items) => {
                let read = |(index, item)| cx.inside(format!("[{index}]"), |cx| T::read(item, cx));
                *self = items.iter().enumerate().filter_map(read).collect();
            }
            _ => cx.wrong_type(node, "a list", "list"),
        }
    }

    fn print(&self) -> Option<Json> {
        (!self.is_empty()).then(|| self.iter().map(Field::print).collect())
    }
}

impl Slot for TextMap {
    fn fill(&mut self, node: &Node, cx: &mut Reader) {
        *self = Self::default();
        match &node.value {
            Value::Map(pairs) => {
                for pair in pairs {
                    let segment = format!(".{}", pair.key.value);
                    if let Some(text) = cx.inside(segment, |cx| Text::read(&pair.value, cx)) {
                        self.insert(pair.key.clone(), text);
                    }
                }
            }
            Value::Null => {}
            Value::String(_) if node.open => {}
            _ => cx.wrong_type(node, "a map of texts", "dict"),
        }
    }

    fn print(&self) -> Option<Json> {
        let pair = |(key, value): (&Spanned<String>, &Text)| (key.value.clone(), value.print());
        (!self.is_empty()).then(|| Json::Object(self.iter().map(pair).collect()))
    }
}

/// A struct of the model.
pub(crate) trait Object: Default {
    /// Keys that are fields.
    const KNOWN: &'static [&'static str];
    /// Keys that exist but are only passed on.
    const PASSED: &'static [&'static str];
    fn set(&mut self, key: &str, node: &Node, cx: &mut Reader);
    fn span_mut(&mut self) -> &mut Span;
    fn extra_mut(&mut self) -> &mut Vec<Extra>;
    fn fields(&self) -> Vec<(&'static str, Option<Json>)>;
    fn extra(&self) -> &[Extra];
}

/// Reads a struct from a map.
pub(crate) fn read_object<T: Object>(node: &Node, cx: &mut Reader) -> Option<T> {
    if node.open {
        return None;
    }
    let Value::Map(pairs) = &node.value else {
        cx.wrong_type(node, "a map", "dict");
        return None;
    };
    let mut object = T::default();
    *object.span_mut() = node.span;
    for pair in pairs {
        let key = cx.form.canonical(&pair.key.value);
        match key.as_deref() {
            Some(key) if T::KNOWN.contains(&key) => {
                let segment = format!(".{}", pair.key.value);
                cx.inside(segment, |cx| object.set(key, &pair.value, cx));
                continue;
            }
            Some(key) if T::PASSED.contains(&key) => {}
            _ => unknown::<T>(&pair.key, cx),
        }
        let key = key.unwrap_or_else(|| pair.key.value.clone());
        object.extra_mut().push(Extra {
            key: Spanned::new(key, pair.key.span),
            node: pair.value.clone(),
            form: cx.form,
        });
    }
    Some(object)
}

/// The code of fields that are not known.
pub(crate) const UNKNOWN_FIELD: &str = "FL0507";

fn unknown<T: Object>(key: &Spanned<String>, cx: &mut Reader) {
    let place = match cx.place() {
        place if place.is_empty() => "the task definition".to_string(),
        place => format!("`{place}`"),
    };
    let all = || T::KNOWN.iter().chain(T::PASSED).copied();
    let written: Vec<String> = all().map(|known| cx.form.written(known)).collect();
    let same = written
        .iter()
        .find(|known| known.eq_ignore_ascii_case(&key.value));
    let near = same.map(String::as_str);
    let near = near.or_else(|| suggest::nearest(&key.value, written.iter().map(String::as_str)));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "it is kept and passed on; delete it if it is a mistake".to_string(),
    };
    let outcome = match cx.form {
        Form::Cli => format!(
            "the AWS CLI refuses it: Parameter validation failed: Unknown parameter in input: \"{}\"",
            key.value
        ),
        Form::Cfn => "CloudFormation refuses it: Encountered unsupported property".to_string(),
    };
    let message = format!("unknown field `{}` in {place}", key.value);
    let diagnostic = Diagnostic::warning(UNKNOWN_FIELD, message).at(key.span);
    cx.diagnostics.push(diagnostic.outcome(outcome).help(help));
}

/// Prints a struct as the CLI's JSON has it.
pub(crate) fn print_object<T: Object>(object: &T) -> Json {
    let fields = object.fields().into_iter();
    let own = fields.filter_map(|(key, value)| Some((key.to_string(), value?)));
    let extra = object.extra().iter().map(|extra| {
        (
            extra.key.value.clone(),
            super::form::print(&extra.node, extra.form),
        )
    });
    Json::Object(own.chain(extra).collect())
}

/// Declares structs of the model: each field with its key in the CLI's JSON.
macro_rules! model {
    ($($(#[$doc:meta])* pub struct $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $key:literal,)*
    } passes $passed:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            /// Where its map opens.
            pub span: firelane_conf::Span,
            /// What firelane does not look into, or does not know.
            pub extra: Vec<$crate::taskdef::field::Extra>,
        }

        impl $crate::taskdef::field::Object for $name {
            const KNOWN: &'static [&'static str] = &[$($key),*];
            const PASSED: &'static [&'static str] = &$passed;

            fn set(
                &mut self,
                key: &str,
                node: &$crate::source::Node,
                cx: &mut $crate::taskdef::field::Reader,
            ) {
                use $crate::taskdef::field::Slot as _;
                match key {
                    $($key => self.$field.fill(node, cx),)*
                    _ => {}
                }
            }

            fn span_mut(&mut self) -> &mut firelane_conf::Span {
                &mut self.span
            }

            fn extra_mut(&mut self) -> &mut Vec<$crate::taskdef::field::Extra> {
                &mut self.extra
            }

            fn fields(&self) -> Vec<(&'static str, Option<serde_json::Value>)> {
                use $crate::taskdef::field::Slot as _;
                vec![$(($key, self.$field.print())),*]
            }

            fn extra(&self) -> &[$crate::taskdef::field::Extra] {
                &self.extra
            }
        }

        impl $crate::taskdef::field::Field for $name {
            fn read(
                node: &$crate::source::Node,
                cx: &mut $crate::taskdef::field::Reader,
            ) -> Option<Self> {
                $crate::taskdef::field::read_object(node, cx)
            }

            fn print(&self) -> serde_json::Value {
                $crate::taskdef::field::print_object(self)
            }
        }
    )*};
}
pub(crate) use model;
