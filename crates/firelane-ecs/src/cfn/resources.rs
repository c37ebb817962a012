//! Names and ARNs of resources that a template names itself, by type.

use firelane_conf::Diagnostic;

use super::resolve::{Meaning, Resolver, like};
use super::sub::{Piece, pieces};
use super::{Resource, Template, errors, parameters};
use crate::source::{Node, Value};

/// What `Ref` and `Fn::GetAtt` give for a type. In the texts stand: `{P}` partition, `{R}` region,
/// `{A}` account, `{U}` the domain that ends addresses, `{N}` the name, `{Path}` and `{Value}` properties.
struct Kind {
    kind: &'static str,
    /// The property that holds the name.
    named_by: &'static str,
    reference: &'static str,
    attributes: &'static [(&'static str, &'static str)],
}

const fn kind(
    kind: &'static str,
    named_by: &'static str,
    reference: &'static str,
    attributes: &'static [(&'static str, &'static str)],
) -> Kind {
    Kind {
        kind,
        named_by,
        reference,
        attributes,
    }
}

/// Types whose name a template can set. Sources: the page of each type in the CloudFormation template
/// reference, `docs.aws.amazon.com/service-authorization` for the forms of the ARNs.
static KINDS: &[Kind] = &[
    kind(
        "AWS::CloudWatch::Alarm",
        "AlarmName",
        "{N}",
        &[("Arn", "arn:{P}:cloudwatch:{R}:{A}:alarm:{N}")],
    ),
    kind(
        "AWS::DynamoDB::Table",
        "TableName",
        "{N}",
        &[("Arn", "arn:{P}:dynamodb:{R}:{A}:table/{N}")],
    ),
    kind(
        "AWS::ECR::Repository",
        "RepositoryName",
        "{N}",
        &[
            ("Arn", "arn:{P}:ecr:{R}:{A}:repository/{N}"),
            ("RepositoryUri", "{A}.dkr.ecr.{R}.{U}/{N}"),
        ],
    ),
    kind(
        "AWS::ECS::Cluster",
        "ClusterName",
        "{N}",
        &[("Arn", "arn:{P}:ecs:{R}:{A}:cluster/{N}")],
    ),
    kind("AWS::ECS::Service", "ServiceName", "", &[("Name", "{N}")]),
    kind(
        "AWS::Elasticsearch::Domain",
        "DomainName",
        "{N}",
        &[
            ("Arn", "arn:{P}:es:{R}:{A}:domain/{N}"),
            ("DomainArn", "arn:{P}:es:{R}:{A}:domain/{N}"),
            ("DomainEndpoint", ""),
        ],
    ),
    kind(
        "AWS::IAM::InstanceProfile",
        "InstanceProfileName",
        "{N}",
        &[("Arn", "arn:{P}:iam::{A}:instance-profile{Path}{N}")],
    ),
    kind(
        "AWS::IAM::ManagedPolicy",
        "ManagedPolicyName",
        "arn:{P}:iam::{A}:policy{Path}{N}",
        &[("PolicyArn", "arn:{P}:iam::{A}:policy{Path}{N}")],
    ),
    kind(
        "AWS::IAM::Role",
        "RoleName",
        "{N}",
        &[("Arn", "arn:{P}:iam::{A}:role{Path}{N}"), ("RoleId", "")],
    ),
    kind(
        "AWS::IAM::User",
        "UserName",
        "{N}",
        &[("Arn", "arn:{P}:iam::{A}:user{Path}{N}")],
    ),
    kind("AWS::KMS::Alias", "AliasName", "{N}", &[]),
    kind(
        "AWS::Kinesis::Stream",
        "Name",
        "{N}",
        &[("Arn", "arn:{P}:kinesis:{R}:{A}:stream/{N}")],
    ),
    kind(
        "AWS::KinesisFirehose::DeliveryStream",
        "DeliveryStreamName",
        "{N}",
        &[("Arn", "arn:{P}:firehose:{R}:{A}:deliverystream/{N}")],
    ),
    kind(
        "AWS::Lambda::Function",
        "FunctionName",
        "{N}",
        &[("Arn", "arn:{P}:lambda:{R}:{A}:function:{N}")],
    ),
    kind(
        "AWS::Logs::LogGroup",
        "LogGroupName",
        "{N}",
        &[("Arn", "arn:{P}:logs:{R}:{A}:log-group:{N}:*")],
    ),
    kind("AWS::Logs::LogStream", "LogStreamName", "{N}", &[]),
    kind(
        "AWS::OpenSearchService::Domain",
        "DomainName",
        "{N}",
        &[
            ("Arn", "arn:{P}:es:{R}:{A}:domain/{N}"),
            ("DomainArn", "arn:{P}:es:{R}:{A}:domain/{N}"),
            ("DomainEndpoint", ""),
        ],
    ),
    kind(
        "AWS::S3::Bucket",
        "BucketName",
        "{N}",
        &[
            ("Arn", "arn:{P}:s3:::{N}"),
            ("DomainName", "{N}.s3.{U}"),
            ("RegionalDomainName", "{N}.s3.{R}.{U}"),
            ("DualStackDomainName", "{N}.s3.dualstack.{R}.{U}"),
        ],
    ),
    kind(
        "AWS::SNS::Topic",
        "TopicName",
        "arn:{P}:sns:{R}:{A}:{N}",
        &[("TopicArn", "arn:{P}:sns:{R}:{A}:{N}"), ("TopicName", "{N}")],
    ),
    kind(
        "AWS::SQS::Queue",
        "QueueName",
        "https://sqs.{R}.{U}/{A}/{N}",
        &[
            ("Arn", "arn:{P}:sqs:{R}:{A}:{N}"),
            ("QueueName", "{N}"),
            ("QueueUrl", "https://sqs.{R}.{U}/{A}/{N}"),
        ],
    ),
    kind("AWS::SSM::Parameter", "Name", "{N}", &[("Value", "{Value}")]),
];

fn kind_of(name: &str) -> Option<&'static Kind> {
    let at = KINDS.binary_search_by(|kind| kind.kind.cmp(name)).ok()?;
    KINDS.get(at)
}

impl<'a> Resolver<'a, '_> {
    /// The name, ARN or other attribute of a resource as far as the template tells it.
    pub(super) fn physical(
        &mut self,
        resource: Resource<'a>,
        attribute: Option<&str>,
        name: &str,
        at: &Node,
    ) -> Node {
        if let Some(given) = self.template.env.get(name) {
            return self.text(given.to_string(), false, at);
        }
        let Some(kind) = kind_of(resource.kind) else {
            return self.hole(name, at);
        };
        let form = match attribute {
            None => Some(kind.reference),
            Some(attribute) => self.form(kind, attribute, resource, at),
        };
        self.path.push(resource.id);
        let filled = form
            .filter(|form| !form.is_empty())
            .and_then(|form| self.fill(form, kind, resource, at));
        self.path.pop();
        match filled {
            Some((text, open)) => self.text(text, open, at),
            None => self.hole(name, at),
        }
    }

    /// The form of an attribute. One that differs from a known one by its case only is a mistake.
    fn form(
        &mut self,
        kind: &'static Kind,
        attribute: &str,
        resource: Resource<'_>,
        at: &Node,
    ) -> Option<&'static str> {
        let known = kind.attributes.iter();
        let (name, form) = known
            .clone()
            .find(|(name, _)| name.eq_ignore_ascii_case(attribute))?;
        if *name == attribute {
            return Some(form);
        }
        let id = resource.id;
        let words = format!(
            "Template error: resource {id} does not support attribute type {attribute} in Fn::GetAtt"
        );
        let told = errors::unknown(
            at.span,
            format!("`{}` has no attribute `{attribute}`", resource.kind),
        );
        self.tell(
            told.outcome(errors::refused(words))
                .help(format!("write `{id}.{name}`")),
        );
        None
    }

    fn fill(&mut self, form: &str, kind: &Kind, resource: Resource<'a>, at: &Node) -> Option<(String, bool)> {
        let (mut out, mut open) = (String::new(), false);
        for (count, part) in form.split(['{', '}']).enumerate() {
            // Names stand between the braces, so every second part is one.
            if count % 2 == 0 {
                out.push_str(part);
                continue;
            }
            let value = match part {
                "P" => self.outside("AWS::Partition", at)?,
                "R" => self.outside("AWS::Region", at)?,
                "A" => self.outside("AWS::AccountId", at)?,
                "U" => self.outside("AWS::URLSuffix", at)?,
                "N" => self.name(kind, resource, at)?,
                "Path" => self
                    .property(resource, "Path")
                    .unwrap_or_else(|| like(at, Value::String("/".into()))),
                other => self.property(resource, other)?,
            };
            out.push_str(value.scalar()?);
            open |= value.open;
        }
        Some((out, open))
    }

    fn outside(&mut self, name: &str, at: &Node) -> Option<Node> {
        match self.meaning(name, at) {
            Meaning::Value(value) => Some(value),
            _ => None,
        }
    }

    fn name(&mut self, kind: &Kind, resource: Resource<'a>, at: &Node) -> Option<Node> {
        let given = self.template.env.get(resource.id);
        match given.filter(|_| kind.reference == "{N}") {
            Some(given) => Some(self.text(given.to_string(), false, at)),
            None => self.property(resource, kind.named_by),
        }
    }

    /// A property that is a text and not empty.
    fn property(&mut self, resource: Resource<'a>, name: &str) -> Option<Node> {
        let raw = resource.properties?.get(name)?;
        let value = self.node(raw)?;
        value
            .scalar()
            .is_some_and(|text| !text.is_empty())
            .then_some(value)
    }
}

/// Checks what every entry of `Resources` needs.
pub(super) fn check(template: &Template, found: &mut Vec<Diagnostic>) {
    let mut resolver = Resolver::new(template, found);
    for pair in &template.resources {
        let (id, at) = (parameters::short(&pair.key.value), pair.key.span);
        if pair.key.value.starts_with("Fn::") {
            resolver.not_run(&pair.key.value, at);
            continue;
        }
        let told = match (&pair.value.value, pair.value.get("Type").map(Node::scalar)) {
            (Value::Map(_), Some(Some(_))) => None,
            (Value::Map(_), _) => Some(format!("the resource `{id}` has no type")),
            _ => Some(format!(
                "the resource `{id}` is {}, a map is expected",
                pair.value.kind()
            )),
        };
        if let Some(message) = told {
            let words = format!(
                "Template format error: [/Resources/{id}] Every Resources object must contain a Type member."
            );
            let told = errors::malformed(at, message).outcome(errors::refused(words));
            resolver.tell(told.help("write `Type: AWS::…` and `Properties:`"));
        }
        let Some(condition) = pair.value.get("Condition") else {
            continue;
        };
        match &condition.value {
            Value::String(name) => resolver.check_condition(name, condition),
            _ => {
                let message = format!(
                    "the condition of `{id}` is {}, its name is expected",
                    condition.kind()
                );
                let help = "define it under `Conditions` and write its name";
                resolver.tell(errors::malformed(condition.span, message).help(help));
            }
        }
    }
}

/// The resource that a value with intrinsics stands for.
pub(super) fn referenced<'a>(template: &'a Template, node: &Node, kind: &str) -> Option<Resource<'a>> {
    let fits = |resource: &Resource<'a>| kind.is_empty() || resource.kind == kind;
    let node = taken(template, node);
    if let Some(id) = pointed(node)
        && let Some(resource) = template.resource(id)
    {
        return Some(resource).filter(fits);
    }
    let mut unheard = Vec::new();
    let mut resolver = Resolver::quiet(template, &mut unheard);
    let value = resolver.node(node)?;
    let text = value.scalar().filter(|text| !text.is_empty())?;
    let mut all = template.resources().filter(fits);
    all.find(|resource| resolver.is_called(*resource, text, node))
        .or_else(|| in_arn(template, &value).filter(fits))
}

/// The only resource whose placeholder stands in an ARN.
fn in_arn<'a>(template: &'a Template, value: &Node) -> Option<Resource<'a>> {
    let text = value
        .scalar()
        .filter(|text| value.open && text.starts_with("arn:"))?;
    let mut ids: Vec<&str> = pieces(text).iter().filter_map(id_of).collect();
    ids.retain(|id| template.resource(id).is_some());
    ids.sort_unstable();
    ids.dedup();
    match ids.as_slice() {
        [id] => template.resource(id),
        _ => None,
    }
}

/// The name before the dot.
fn id_of<'t>(piece: &Piece<'t>) -> Option<&'t str> {
    match piece {
        Piece::Name(name, _) => name.trim().split('.').next(),
        _ => None,
    }
}

impl<'a> Resolver<'a, '_> {
    /// Whether a text is the name or the ARN that the template gives a resource.
    fn is_called(&mut self, resource: Resource<'a>, text: &str, at: &Node) -> bool {
        let Some(kind) = kind_of(resource.kind) else {
            return false;
        };
        let arns = kind.attributes.iter().filter(|(name, _)| name.ends_with("Arn"));
        let forms = [kind.reference, "{N}"]
            .into_iter()
            .chain(arns.map(|(_, form)| *form));
        for form in forms.filter(|form| !form.is_empty()) {
            self.path.push(resource.id);
            let filled = self.fill(form, kind, resource, at);
            self.path.pop();
            if filled.is_some_and(|(own, _)| own == text || same_arn(&own, text)) {
                return true;
            }
        }
        false
    }
}

/// Whether two ARNs may be of one resource: parts that are open on one side fit anything.
fn same_arn(a: &str, b: &str) -> bool {
    let open = |part: &str| part.starts_with("${") && part.ends_with('}');
    let (a, b) = (arn_parts(a), arn_parts(b));
    let Some(((a, a_rest), (b, b_rest))) = a.zip(b) else {
        return false;
    };
    let same = a.iter().zip(&b).all(|(a, b)| a == b || open(a) || open(b));
    same && a_rest.trim_end_matches(":*") == b_rest.trim_end_matches(":*")
}

/// Partition, service, region and account of an ARN, and the rest. Placeholders hold colons of their own.
fn arn_parts(arn: &str) -> Option<([&str; 4], &str)> {
    let mut rest = arn.strip_prefix("arn:")?;
    let mut parts = [""; 4];
    for part in &mut parts {
        let from = if rest.starts_with("${") {
            rest.find('}')?
        } else {
            0
        };
        let end = from + rest.get(from..)?.find(':')?;
        *part = rest.get(..end)?;
        rest = rest.get(end + 1..)?;
    }
    Some((parts, rest))
}

/// Through `Fn::If` to the branch that is taken.
fn taken<'n>(template: &Template, node: &'n Node) -> &'n Node {
    let mut node = node;
    while let Some([name, yes, no]) = only(node, "Fn::If").map(Node::items) {
        let held = name.scalar().and_then(|name| template.holds(name));
        node = if held == Some(false) { no } else { yes };
    }
    node
}

fn only<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    match node.pairs() {
        [pair] if pair.key.value == name => Some(&pair.value),
        _ => None,
    }
}

/// The logical id that an intrinsic points to.
fn pointed(node: &Node) -> Option<&str> {
    let [pair] = node.pairs() else { return None };
    match pair.key.value.as_str() {
        "Ref" => pair.value.scalar(),
        "Fn::GetAtt" => match pair.value.items() {
            [id, ..] => id.scalar(),
            [] => pair.value.scalar()?.split('.').next(),
        },
        "Fn::Sub" => {
            let (text, own) = match pair.value.items() {
                [text, own] => (text, Some(own)),
                _ => (&pair.value, None),
            };
            match pieces(text.scalar()?).as_slice() {
                [Piece::Name(name, _)] if own.is_some_and(|own| own.get(name.trim()).is_some()) => {
                    pointed(own?.get(name.trim())?)
                }
                [only] => id_of(only),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_sorted_and_their_forms_closed() {
        assert!(KINDS.is_sorted_by_key(|kind| kind.kind));
        for kind in KINDS {
            for (_, form) in kind.attributes {
                assert_eq!(form.matches('{').count(), form.matches('}').count(), "{form}");
            }
        }
    }

    #[test]
    fn arns_of_one_resource() {
        let check = |a: &str, b: &str, want: bool| assert_eq!(same_arn(a, b), want, "{a} {b}");
        check(
            "arn:aws:iam::1:role/a",
            "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/a",
            true,
        );
        check("arn:aws:iam::1:role/a", "arn:aws:iam::2:role/a", false);
        check(
            "arn:aws:logs:r:1:log-group:x:*",
            "arn:aws:logs:r:1:log-group:x",
            true,
        );
        check("arn:aws:iam::1:role/a", "arn:aws:iam::1:role/b", false);
        check("a", "a", false);
    }
}
