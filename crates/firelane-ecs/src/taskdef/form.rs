//! The two spellings of a task definition: camelCase of the API, PascalCase of CloudFormation.

use serde_json::Value as Json;

use crate::source::{Node, Value};

/// How a task definition is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// `register-task-definition`: camelCase, strict types.
    #[default]
    Cli,
    /// `AWS::ECS::TaskDefinition`: PascalCase, numbers and booleans may be texts.
    Cfn,
}

/// Keys whose two spellings differ by more than the first letter: API, CloudFormation.
const IRREGULAR: &[(&str, &str)] = &[
    ("efsVolumeConfiguration", "EFSVolumeConfiguration"),
    ("fileSystemId", "FilesystemId"),
    (
        "fsxWindowsFileServerVolumeConfiguration",
        "FSxWindowsFileServerVolumeConfiguration",
    ),
    ("iam", "IAM"),
];

/// Keys below which the keys are the user's own words.
const OWN_WORDS: &[&str] = &["options", "dockerLabels", "driverOpts", "labels", "tags"];

impl Form {
    /// A key in the API's spelling; `None` where it cannot be a key of this form.
    pub fn canonical(self, key: &str) -> Option<String> {
        match self {
            Self::Cli => Some(key.to_string()),
            Self::Cfn => {
                if let Some((api, _)) = IRREGULAR.iter().find(|(_, cfn)| *cfn == key) {
                    return Some((*api).to_string());
                }
                let first = key.chars().next().filter(char::is_ascii_uppercase)?;
                Some(first.to_ascii_lowercase().to_string() + &key[1..])
            }
        }
    }

    /// A key of the API as this form writes it.
    pub fn written(self, key: &str) -> String {
        match self {
            Self::Cli => key.to_string(),
            Self::Cfn => {
                if let Some((_, cfn)) = IRREGULAR.iter().find(|(api, _)| *api == key) {
                    return (*cfn).to_string();
                }
                let mut chars = key.chars();
                let first = chars.next().map(|c| c.to_ascii_uppercase());
                first.into_iter().chain(chars).collect()
            }
        }
    }
}

/// A tree as the CLI's JSON has it.
pub(crate) fn print(node: &Node, form: Form) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(on) => Json::Bool(*on),
        Value::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.clone())),
        Value::String(text) => Json::String(text.clone()),
        Value::List(items) => items.iter().map(|item| print(item, form)).collect(),
        Value::Map(pairs) => {
            let pair = |pair: &crate::source::Pair| {
                let canonical = form.canonical(&pair.key.value);
                let key = canonical.unwrap_or_else(|| pair.key.value.clone());
                let own = OWN_WORDS.contains(&key.as_str());
                let value = print(&pair.value, if own { Form::Cli } else { form });
                (key, value)
            };
            Json::Object(pairs.iter().map(pair).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_go_there_and_back() {
        for (api, cfn) in [
            ("containerDefinitions", "ContainerDefinitions"),
            ("efsVolumeConfiguration", "EFSVolumeConfiguration"),
            ("fileSystemId", "FilesystemId"),
        ] {
            assert_eq!(Form::Cfn.written(api), cfn);
            assert_eq!(Form::Cfn.canonical(cfn).as_deref(), Some(api));
        }
        assert_eq!(Form::Cfn.canonical("family"), None);
    }
}
