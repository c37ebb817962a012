//! What the command line says about the deployment.

/// What stands for parameters and pseudo parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env {
    /// Values of parameters by name; of a list, with commas between. Also of what only the deployment knows:
    /// resources (`LogGroup`), attributes (`Role.Arn`), pseudo parameters (`AWS::StackName`) and exports.
    pub params: Vec<(String, String)>,
    /// `AWS::Region`; without it the pseudo parameter stays open.
    pub region: Option<String>,
    /// `AWS::AccountId`; without it the pseudo parameter stays open.
    pub account: Option<String>,
}

/// Pseudo parameters.
pub(super) const PSEUDO: [&str; 8] = [
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
];

impl Env {
    /// The value given for a name, the last one where it is given twice.
    pub fn get(&self, name: &str) -> Option<&str> {
        let given = self.params.iter().rev();
        given
            .clone()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a pseudo parameter that is one text.
    pub(super) fn pseudo(&self, name: &str) -> Option<String> {
        let region = self.get("AWS::Region").or(self.region.as_deref());
        let partition = || {
            let given = self.get("AWS::Partition");
            given.or_else(|| region.map(crate::context::partition))
        };
        let value = match name {
            "AWS::Region" => region,
            "AWS::AccountId" => self.get(name).or(self.account.as_deref()),
            "AWS::Partition" => partition(),
            "AWS::URLSuffix" => {
                let given = self.get(name);
                given.or_else(|| partition().map(crate::context::url_suffix))
            }
            _ => self.get(name),
        };
        value.map(str::to_string)
    }
}
