//! Templates that would never end.

use super::super::resolve;
use super::{env, read};

/// Scenario: each of 40 resources doubles the name of the next. Guarantees: an end, and one error.
#[test]
fn growth_is_bounded() {
    let mut text = "Resources:\n".to_string();
    for at in 0..40 {
        let next = at + 1;
        text += &format!(
            "  R{at}: {{Type: 'AWS::S3::Bucket', Properties: {{BucketName: !Sub '${{R{next}}}${{R{next}}}'}}}}\n"
        );
    }
    text += "  R40: {Type: 'AWS::S3::Bucket', Properties: {BucketName: x}}\n";
    let (template, _) = read(&text, env());
    let mut found = Vec::new();
    let node = template.properties("R0", &mut found);
    assert!(node.get("BucketName").unwrap().scalar().unwrap().len() <= resolve::TEXT_MAX);
    assert!(found.iter().all(|told| told.code == "FL0514"), "{found:?}");
    assert!(!found.is_empty());
}

/// Scenario: a chain of 1000 names, a chain of 1000 conditions, 1000 wrong names.
/// Guarantees: no overflow, and an end of the complaints.
#[test]
fn depth_and_findings_are_bounded() {
    let mut text = "Conditions:\n".to_string();
    for at in 0..1000 {
        text += &format!("  C{at}: !Not [!Condition C{}]\n", at + 1);
    }
    text += "  C1000: !Equals [a, a]\nResources:\n";
    for at in 0..1000 {
        let next = at + 1;
        text += &format!(
            "  R{at}: {{Type: 'AWS::S3::Bucket', Properties: {{BucketName: !Ref R{next}, A: !Ref X{at}}}}}\n"
        );
    }
    text += "  R1000: {Type: 'AWS::S3::Bucket'}\n";
    let (template, mut found) = read(&text, env());
    assert!(found.iter().all(|told| told.code == "FL0514"));
    for at in 0..1000 {
        template.properties(&format!("R{at}"), &mut found);
    }
    assert!((100..=202).contains(&found.len()), "{}", found.len());
}
