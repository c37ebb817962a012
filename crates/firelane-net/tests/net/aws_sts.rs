//! Where STS is asked for what the chain itself wants of it.

use crate::aws_chain::{Env, service, written};
use crate::aws_mock::{Mock, Seen, assumed};
use crate::aws_sigv4::Verifier;

#[tokio::test]
async fn the_endpoint_of_sts_is_for_the_whole_chain() {
    // Scenario: `sts_endpoint` with a web identity, and with the role of a profile; the variable names
    // another. Guarantees: the option's is asked, and the signature holds there.
    let service = service().await;
    let sts = Mock::new(|_, seen: &Seen| match seen.header("authorization") {
        None => assumed("AssumeRoleWithWebIdentity", "AKWEB"),
        Some(_) => {
            let verifier = Verifier {
                secret: "secret-of-AKBASE".to_owned(),
                region: "eu-west-1",
                service: "sts",
            };
            assert_eq!(verifier.verify(seen), Ok(()));
            assert_eq!(seen.header("host"), Some("sts.eu-west-1.amazonaws.com"));
            assumed("AssumeRole", "AKROLE")
        }
    })
    .await;
    let endpoint = format!("sts_endpoint={}", sts.url());
    let folder = tempfile::tempdir().unwrap();
    let web = Env::new(&service)
        .with("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
        .with("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
        .with(
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            &written(folder.path(), "t", "token"),
        );
    let said = web.call(&[&endpoint]).await;
    assert_eq!(said, "ok 200 AKWEB eu-west-1 token-of-AKWEB");
    let files = "[role]\nrole_arn=arn:aws:iam::1:role/r\nsource_profile=base\n\
                 [base]\naws_access_key_id=AKBASE\naws_secret_access_key=secret-of-AKBASE\n";
    let profile = Env::new(&service).with("AWS_SHARED_CREDENTIALS_FILE", &written(folder.path(), "c", files));
    let said = profile.call(&["profile=role", &endpoint]).await;
    assert_eq!(said, "ok 200 AKROLE eu-west-1 token-of-AKROLE");
}
