//! Templates of any shape.

use proptest::prelude::*;

use super::super::fuzz_template;

fn scalar() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "\"P\"",
        "\"R\"",
        "\"S\"",
        "\"M\"",
        "\"C\"",
        "\"D\"",
        "\"R.Arn\"",
        "0",
        "7",
        "true",
        "null",
        "\"\"",
        "\"${P}-${R.Arn}${!X}${C\"",
        "\"${AWS::NoValue}${S}${Q}\"",
        "\"AWS::NoValue\"",
        "\"AWS::Region\"",
        "\"{{resolve:ssm:x}}\"",
        "{\"Ref\": \"P\"}",
        "{\"Ref\": \"R\"}",
        "{\"Fn::GetAtt\": \"S.Arn\"}",
    ];
    prop::sample::select(WORDS).prop_map(str::to_string)
}

fn value() -> impl Strategy<Value = String> {
    const FUNCTIONS: &[&str] = &[
        "Ref",
        "Fn::Sub",
        "Fn::Join",
        "Fn::GetAtt",
        "Fn::If",
        "Fn::Select",
        "Fn::Split",
        "Fn::FindInMap",
        "Fn::ImportValue",
        "Fn::Base64",
        "Fn::GetAZs",
        "Fn::Cidr",
        "Fn::Length",
        "Fn::ToJsonString",
        "Fn::Transform",
        "Fn::Equals",
        "Fn::And",
        "Fn::Not",
        "Condition",
        "Fn::ForEach::X",
        "Fn::X",
        "a",
    ];
    scalar().prop_recursive(5, 40, 4, move |inner| {
        let list =
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(",")));
        let function = prop::sample::select(FUNCTIONS);
        prop_oneof![
            list.clone(),
            (function.clone(), list).prop_map(|(name, list)| format!("{{\"{name}\": {list}}}")),
            (function.clone(), inner.clone()).prop_map(|(name, one)| format!("{{\"{name}\": {one}}}")),
            (function, inner.clone(), inner)
                .prop_map(|(name, one, two)| format!("{{\"{name}\": {one}, \"Ref\": {two}}}")),
        ]
    })
}

proptest! {
    /// Guarantees: whatever stands where, nothing panics and no intrinsic is left.
    #[test]
    fn templates_never_panic(
        [condition, other, default, name, role, mapped, task] in
            [value(), value(), value(), value(), value(), value(), value()],
        kind in prop::sample::select(&["String", "Number", "CommaDelimitedList"][..]),
    ) {
        let text = format!(
            "{{\"Parameters\": {{\"P\": {{\"Type\": \"{kind}\", \"Default\": {default}}}, \"Q\": {default}}}, \
             \"Mappings\": {{\"M\": {{\"P\": {{\"R\": {mapped}}}, \"0\": {mapped}}}}}, \
             \"Conditions\": {{\"C\": {condition}, \"D\": {other}}}, \"Resources\": {{\
             \"R\": {{\"Type\": \"AWS::S3::Bucket\", \"Condition\": \"C\", \"Properties\": {{\"BucketName\": {name}}}}}, \
             \"S\": {{\"Type\": \"AWS::IAM::Role\", \"Properties\": {{\"RoleName\": {role}, \"Path\": {name}}}}}, \
             \"T\": {{\"Type\": \"AWS::ECS::TaskDefinition\", \"Properties\": {task}}}}}}}"
        );
        fuzz_template(text.as_bytes());
    }

    #[test]
    fn texts_never_panic(text in ".{0,200}") {
        fuzz_template(text.as_bytes());
    }
}
