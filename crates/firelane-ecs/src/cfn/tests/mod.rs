//! Templates as they are written, and what comes out of them.

mod arbitrary;
mod limits;

use firelane_conf::{Severity, SourceId};

use super::*;

const HEAD: &str = "
Parameters:
  App: {Type: String, Default: shop}
  Port: {Type: Number, Default: 24224}
  Nets: {Type: CommaDelimitedList, Default: 'a, b'}
  Image: {Type: String}
  Token: {Type: 'AWS::SSM::Parameter::Value<String>', Default: /t}
Mappings:
  Sizes: {prod: {Cpu: '512', Zones: [x, y]}}
Conditions:
  IsShop: !Equals [!Ref App, shop]
  NotShop: !Not [!Condition IsShop]
  Given: !Equals [!Ref Image, latest]
  Either: !Or [!Condition NotShop, !Condition IsShop, !Condition Given]
  Both: !And [!Condition NotShop, !Condition Given]
Resources:
  Group: {Type: 'AWS::Logs::LogGroup', Properties: {LogGroupName: !Sub '/ecs/${App}'}}
  Stacked: {Type: 'AWS::Logs::LogGroup', Properties: {LogGroupName: !Sub '/${AWS::StackName}'}}
  Free: {Type: 'AWS::Logs::LogGroup'}
  Role: {Type: 'AWS::IAM::Role', Properties: {RoleName: task, Path: /a/}}
  Stream: {Type: 'AWS::KinesisFirehose::DeliveryStream', Properties: {DeliveryStreamName: logs}}
  Key: {Type: 'AWS::KMS::Key', Properties: {}}
  Gone: {Type: 'AWS::S3::Bucket', Condition: NotShop, Properties: {BucketName: b}}
  Ring: {Type: 'AWS::S3::Bucket', Properties: {BucketName: !Sub '${Round}-x'}}
  Round: {Type: 'AWS::S3::Bucket', Properties: {BucketName: !Ref Ring}}
  Task: {Type: 'AWS::ECS::TaskDefinition', Properties: {V: ";

fn env() -> Env {
    Env {
        region: Some("eu-west-1".into()),
        account: Some("111122223333".into()),
        ..Env::default()
    }
}

fn read(text: &str, env: Env) -> (Template, Vec<Diagnostic>) {
    let root = source::read(SourceId(1), text, Grammar::Yaml, &mut Vec::new()).unwrap();
    let mut found = Vec::new();
    let template = Template::read(root, env, &mut found);
    (template, found)
}

/// What a value becomes, and what is found on the way.
fn resolved(value: &str, env: Env) -> (String, Vec<Diagnostic>) {
    let (template, _) = read(&format!("{HEAD}{value}}}}}\n"), env);
    let mut found = Vec::new();
    let node = template.properties("Task", &mut found);
    (node.get("V").map(show).unwrap_or("-".into()), found)
}

fn show(node: &Node) -> String {
    let mark = if node.open { "?" } else { "" };
    match &node.value {
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Map(pairs) => {
            let pair = |pair: &Pair| format!("{}={}", pair.key.value, show(&pair.value));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(" "))
        }
        Value::Null => "null".into(),
        _ => format!("{}{mark}", node.scalar().unwrap()),
    }
}

#[track_caller]
fn check(value: &str, want: &str) {
    let (got, found) = resolved(value, env());
    assert_eq!(got, want, "{value}");
    let errors: Vec<_> = found
        .iter()
        .filter(|told| told.severity != Severity::Note)
        .collect();
    assert!(errors.is_empty(), "{value}: {errors:?}");
}

#[track_caller]
fn check_error(value: &str, code: &str, message: &str, help: &str) {
    let (_, found) = resolved(value, env());
    let told = found.iter().find(|told| told.severity != Severity::Note);
    let told = told.unwrap_or_else(|| panic!("{value}: nothing found"));
    assert_eq!((told.code, told.message.as_str()), (code, message), "{value}");
    assert!(
        told.help.as_deref().unwrap().contains(help),
        "{value}: {:?}",
        told.help
    );
}

#[test]
fn names_give_what_they_stand_for() {
    check("!Ref App", "shop");
    check("!Ref Port", "24224");
    check("!Ref Nets", "[a b]");
    check("!Ref Image", "${Image}?");
    check("!Ref Token", "${Token}?");
    check("!Ref AWS::Region", "eu-west-1");
    check("!Ref AWS::StackName", "${AWS::StackName}?");
    check("!Ref AWS::URLSuffix", "amazonaws.com");
    check("!Ref AWS::NoValue", "-");
    check("[a, !Ref AWS::NoValue, b]", "[a b]");
    check("!Ref Group", "/ecs/shop");
    check("!Ref Stacked", "/${AWS::StackName}?");
    check("!Ref Free", "${Free}?");
    check("!GetAtt Key.Arn", "${Key.Arn}?");
    check("!GetAtt Role.Arn", "arn:aws:iam::111122223333:role/a/task");
    check("!GetAtt [Role, Arn]", "arn:aws:iam::111122223333:role/a/task");
    check(
        "!GetAtt Group.Arn",
        "arn:aws:logs:eu-west-1:111122223333:log-group:/ecs/shop:*",
    );
    check(
        "!Sub '${Stream}/${Role.Arn}/${!HOSTNAME}'",
        "logs/arn:aws:iam::111122223333:role/a/task/${HOSTNAME}",
    );
    check("!Sub ['${A}-${App}', {A: !Ref Port}]", "24224-shop");
    check("!ImportValue x-y", "${Fn::ImportValue.x-y}?");
    check(
        "!ImportValue {'Fn::Sub': '${AWS::StackName}-y'}",
        "${Fn::ImportValue.AWS::StackName-y}?",
    );
    check("'{{resolve:ssm:/a}}'", "{{resolve:ssm:/a}}?");
    check(
        "{Condition: {StringEquals: {a: b}}}",
        "{Condition={StringEquals={a=b}}}",
    );
}

#[test]
fn functions_give_values() {
    check("!Join ['-', [a, !Ref App, 1]]", "a-shop-1");
    check("!Join ['-', !Ref Nets]", "a-b");
    check("!Join ['-', [a, !Ref Image]]", "a-${Image}?");
    check("!Select [1, !Ref Nets]", "b");
    check("!Select ['0', !Split ['/', 'x/y']]", "x");
    check("!Select [0, !GetAZs '']", "${Fn::Select.0.Fn::GetAZs}?");
    check("!Split [',', !Ref Image]", "${Fn::Split.,.Image}?");
    check("!FindInMap [Sizes, prod, Cpu]", "512");
    check("!FindInMap [Sizes, prod, Zones]", "[x y]");
    check(
        "!FindInMap [Sizes, !Ref Image, Cpu]",
        "${Fn::FindInMap.Sizes.Image.Cpu}?",
    );
    check("!Base64 foo", "Zm9v");
    check(
        "!GetStackOutput {StackName: net, OutputName: Vpc}",
        "${Fn::GetStackOutput.net.Vpc}?",
    );
    check("!If [IsShop, a, b]", "a");
    check("!If [NotShop, {a: b}, !Ref AWS::NoValue]", "-");
    check("!If [Either, a, b]", "a");
    check("!If [Both, a, b]", "b");
    check("!If [Given, a, b]", "a");
}

#[test]
fn wrong_names_are_named() {
    let nothing = "there is neither a parameter nor a resource";
    check_error(
        "!Ref Grop",
        "FL0511",
        &format!("{nothing} `Grop`"),
        "did you mean `Group`?",
    );
    check_error(
        "!Ref Role.Arn",
        "FL0511",
        &format!("{nothing} `Role.Arn`"),
        "!GetAtt Role.Arn",
    );
    check_error(
        "!Sub 'a${HOSTNAME}'",
        "FL0511",
        &format!("{nothing} `HOSTNAME`"),
        "write `${!HOSTNAME}`",
    );
    check_error(
        "!Sub '${X:-y}'",
        "FL0512",
        "`${X:-y}` is no name for `Fn::Sub`",
        "${!X:-y}",
    );
    check_error(
        "!Sub '${Rol.Arn}'",
        "FL0511",
        "there is no resource `Rol`",
        "did you mean `Role`?",
    );
    check_error(
        "!Sub '${Nets}'",
        "FL0512",
        "`Nets` is a list, a text is expected in `Fn::Sub`",
        "Fn::Join",
    );
}

#[test]
fn wrong_attributes_and_circles_are_named() {
    check_error(
        "!GetAtt App.Arn",
        "FL0511",
        "there is no resource `App`",
        "it is a parameter",
    );
    check_error(
        "!GetAtt Role",
        "FL0512",
        "`Fn::GetAtt` takes a logical id and an attribute",
        "!GetAtt Role.Arn",
    );
    check_error(
        "!GetAtt Role.ARN",
        "FL0511",
        "`AWS::IAM::Role` has no attribute `ARN`",
        "Role.Arn",
    );
    check_error(
        "!Ref Gone",
        "FL0511",
        "the resource `Gone` is not made: its condition is false",
        "Fn::If",
    );
    check_error("!Ref Task", "FL0514", "the resource `Task` names itself", "");
    check_error(
        "!Ref Ring",
        "FL0514",
        "the resources `Task` → `Ring` → `Round` → `Ring` name each other in a circle",
        "",
    );
}

#[test]
fn wrong_places_in_lists_and_mappings_are_named() {
    check_error(
        "!Select [2, !Ref Nets]",
        "FL0513",
        "the list has 2 elements, none at 2",
        "first element is 0",
    );
    check_error(
        "!FindInMap [Size, a, b]",
        "FL0513",
        "there is no mapping `Size`",
        "`Sizes`",
    );
    check_error(
        "!FindInMap [Sizes, test, Cpu]",
        "FL0513",
        "the mapping `Sizes` has no value for `test`",
        "prod",
    );
}

#[test]
fn wrong_arguments_are_named() {
    check_error(
        "!Join [a, b]",
        "FL0512",
        "`Fn::Join` takes a text and a list of texts",
        "!Join",
    );
    check_error(
        "!Jion [a, b]",
        "FL0512",
        "there is no intrinsic function `Fn::Jion`",
        "`Fn::Join`",
    );
    check_error(
        "{'Fn::Sub': a, b: c}",
        "FL0512",
        "`Fn::Sub` stands beside other keys",
        "only key",
    );
    check_error(
        "!If [IsSop, a, b]",
        "FL0511",
        "there is no condition `IsSop`",
        "`IsShop`",
    );
    check_error("!If [a]", "FL0512", "`Fn::If` takes a list of three values", "");
    check_error(
        "{'Fn::Transform': {Name: x}}",
        "FL0517",
        "`Fn::Transform` is not run: what it makes is not seen",
        "",
    );
    check_error(
        "!Length [a]",
        "FL0517",
        "`Fn::Length` works only with the transform `AWS::LanguageExtensions`",
        "Transform",
    );
}

#[test]
fn what_is_open_is_noted_once() {
    let (_, found) = read(&format!("{HEAD}!If [Given, a, !Ref Image]}}}}\n"), env());
    let notes: Vec<_> = found
        .iter()
        .map(|told| (told.code, told.help.as_deref().unwrap()))
        .collect();
    assert_eq!(notes, [("FL0515", "pass `--param Image=VALUE`")]);
    let (_, found) = resolved(
        "[!If [Given, a, b], !If [Given, c, d], !Ref Token, !Ref Token]",
        env(),
    );
    let codes: Vec<_> = found.iter().map(|told| told.code).collect();
    assert_eq!(codes, ["FL0518", "FL0515"]);
}

/// Scenario: the command line names parameters, a resource, an attribute, an export and a pseudo parameter.
#[test]
fn the_command_line_fills_what_is_open() {
    let params = [
        ("Image", "i:1"),
        ("Token", "t"),
        ("Free", "group"),
        ("Key.Arn", "arn"),
        ("AWS::StackName", "s"),
        ("s-y", "exported"),
    ];
    let params = params
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .to_vec();
    let value = "[!Ref Image, !Ref Token, !Ref Free, !GetAtt Free.Arn, !GetAtt Key.Arn, !Ref Stacked, \
                 !ImportValue {'Fn::Sub': '${AWS::StackName}-y'}]";
    let (got, found) = resolved(value, Env { params, ..env() });
    let arn = "arn:aws:logs:eu-west-1:111122223333:log-group:group:*";
    assert_eq!(got, format!("[i:1 t group {arn} arn /s exported]"));
    assert_eq!(found, []);
}

#[test]
fn without_a_region_arns_stay_open() {
    let (got, _) = resolved("!GetAtt Role.Arn", Env::default());
    assert_eq!(got, "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/a/task?");
}

#[track_caller]
fn check_parameter(definition: &str, given: Option<&str>, want: &str) {
    let text = format!("Parameters:\n  Mode: {definition}\nResources: {{}}\n");
    let given = given.into_iter().filter_map(|given| given.split_once('='));
    let params = given
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let (_, found) = read(&text, Env { params, ..env() });
    let messages: Vec<_> = found.iter().map(|told| told.message.as_str()).collect();
    assert_eq!(messages.join("; "), want, "{definition} {given:?}", given = found);
}

#[test]
fn parameters_are_checked() {
    check_parameter("{Type: String, AllowedValues: [a, b]}", Some("Mode=a"), "");
    check_parameter(
        "{Type: String, AllowedValues: [a, b]}",
        Some("Mode=c"),
        "`--param Mode` is `c`, which is not allowed",
    );
    check_parameter(
        "{Type: String, AllowedValues: [a], Default: b}",
        None,
        "the default of `Mode` is `b`, which is not allowed",
    );
    check_parameter(
        "{Type: Number}",
        Some("Mode=x"),
        "`--param Mode` is `x`, a number is expected",
    );
    check_parameter(
        "{Type: Number, MaxValue: 5}",
        Some("Mode=6"),
        "`--param Mode` must be a number not greater than 5: `6`",
    );
    check_parameter(
        "{Type: String, MinLength: 3}",
        Some("Mode=ab"),
        "`--param Mode` must contain at least 3 characters: `ab`",
    );
    check_parameter(
        "{Type: String}",
        Some("Mod=x"),
        "`--param Mod`: the template has nothing of that name",
    );
    check_parameter("{Default: x}", None, "the parameter `Mode` has no type");
    check_parameter(
        "{Type: String, Default: [x]}",
        None,
        "the default of `Mode` is a list, a text is expected",
    );
}

#[track_caller]
fn check_referenced(value: &str, kind: &str, want: Option<&str>) {
    let (template, _) = read(&format!("{HEAD}{value}}}}}\n"), Env::default());
    let raw = template
        .raw("Task")
        .and_then(|properties| properties.get("V"))
        .unwrap();
    let got = template.referenced_as(raw, kind).map(|resource| resource.id);
    assert_eq!(got, want, "{value}");
}

#[test]
fn values_point_to_resources() {
    check_referenced("!Ref Role", "", Some("Role"));
    check_referenced("!GetAtt Role.Arn", "", Some("Role"));
    check_referenced("!Sub '${Role.Arn}'", "", Some("Role"));
    check_referenced("!If [NotShop, x, !GetAtt Key.Arn]", "", Some("Key"));
    check_referenced("task", "", Some("Role"));
    check_referenced("/ecs/shop", "", Some("Group"));
    check_referenced("/ecs/shop", "AWS::IAM::Role", None);
    check_referenced("!Ref App", "", None);
    check_referenced(
        "!Sub 'arn:aws:iam::${AWS::AccountId}:role/a/task'",
        "",
        Some("Role"),
    );
    check_referenced(
        "arn:aws:iam::111122223333:role/a/task",
        "AWS::IAM::Role",
        Some("Role"),
    );
    check_referenced("[a]", "", None);
    check_referenced("!Sub ['${X}', {X: !GetAtt Key.Arn}]", "", Some("Key"));
    check_referenced(
        "!Sub 'arn:aws:logs:eu-west-1:1:log-group:${Free}'",
        "",
        Some("Free"),
    );
    check_referenced(
        "!Join ['', ['arn:aws:kms:', !Ref AWS::Region, ':1:key/', !Ref Key]]",
        "AWS::KMS::Key",
        Some("Key"),
    );
    check_referenced("!Sub '/ecs/${Free}'", "", None);
}

#[test]
fn only_what_is_made_counts() {
    let text = "
Conditions: {No: !Equals [a, b], Open: !Equals [!Ref AWS::StackName, b]}
Resources:
  A: {Type: AWS::ECS::TaskDefinition, Condition: No}
  B: {Type: AWS::ECS::TaskDefinition, Condition: Open}
  C: {Type: AWS::ECS::Service}
  D: {Type: AWS::ECS::TaskDefinition}
";
    let (template, found) = read(text, env());
    let all: Vec<_> = template
        .task_definitions()
        .map(|(id, span)| (id, span.line))
        .collect();
    assert_eq!(all, [("B", 5), ("D", 7)]);
    assert_eq!(template.resource("B").unwrap().made, None);
    assert_eq!(found, []);
}

#[test]
fn what_is_wrong_with_sections_is_told() {
    let check = |text: &str, code: &str, message: &str| {
        let (_, found) = read(text, env());
        let got: Vec<_> = found
            .iter()
            .map(|told| (told.code, told.message.as_str()))
            .collect();
        assert_eq!(got, [(code, message)], "{text}");
    };
    check(
        "Resources: [a]",
        "FL0512",
        "`Resources` is a list, a map is expected",
    );
    check("Resources: {A: {}}", "FL0512", "the resource `A` has no type");
    check(
        "Transform: AWS::Serverless-2016-10-31\nResources: {}",
        "FL0517",
        "the transform `AWS::Serverless-2016-10-31` is not run: what it makes or changes is not seen",
    );
    check(
        "Conditions: {A: !Condition B, B: !Condition A}",
        "FL0514",
        "the condition `A` depends on itself",
    );
    check(
        "Conditions: {A: !Equals [a]}",
        "FL0512",
        "`Fn::Equals` takes a list of two values",
    );
    check(
        "Conditions: {A: true}",
        "FL0512",
        "a condition is a boolean, a function is expected",
    );
    check(
        "Conditions: {A: !Equals [!Ref R, x]}\nResources: {R: {Type: X}}",
        "FL0511",
        "the resource `R` is named in a condition",
    );
    check(
        "Resources: {A: {Type: X, Condition: C}}",
        "FL0511",
        "there is no condition `C`",
    );
    check(
        "Transform: AWS::LanguageExtensions\nResources: {'Fn::ForEach::X': []}",
        "FL0517",
        "`Fn::ForEach::X` is not run: what it makes is not seen",
    );
}

/// Scenario: a loop makes resources. Guarantees: a name that it may make is no error.
#[test]
fn what_macros_may_make_is_only_warned_about() {
    let text = "Transform: AWS::LanguageExtensions\nResources:\n  'Fn::ForEach::X': []\n  \
                T: {Type: AWS::ECS::TaskDefinition, Properties: {A: !Ref MadeX, B: {'Fn::Transform': {}}}}\n";
    let (template, mut found) = read(text, env());
    let node = template.properties("T", &mut found);
    assert_eq!(show(&node), "{A=${MadeX}? B=${Fn::Transform}?}");
    let got: Vec<_> = found.iter().map(|told| (told.code, told.severity)).collect();
    let warning = |code| (code, Severity::Warning);
    assert_eq!(got, [warning("FL0517"), warning("FL0511"), warning("FL0517")]);
}

/// Guarantees: what is resolved has the place of the intrinsic, a wrong name in a text its own.
#[test]
fn places_are_those_of_the_use() {
    let text = "Parameters:\n  P: {Type: String, Default: x}\nResources:\n  T:\n    Type: AWS::ECS::TaskDefinition\n    \
                Properties:\n      A: !Ref P\n      B: !Sub \"ä${P}-${NO}\"\n";
    let (template, _) = read(text, env());
    let mut found = Vec::new();
    let node = template.properties("T", &mut found);
    let a = node.get("A").unwrap();
    assert_eq!((a.span.line, text.get(a.range.clone())), (7, Some("P")));
    let span = found[0].span.unwrap();
    let line = text.lines().nth(7).unwrap();
    let marked: String = line
        .chars()
        .skip(span.column as usize - 1)
        .take(span.len as usize)
        .collect();
    assert_eq!((span.line, marked.as_str()), (8, "${NO}"));
}
