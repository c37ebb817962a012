//! Signature version 4 by its specification, to verify what the client signs: no code shared with `aws-sigv4`
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use sha2::{Digest, Sha256};

use crate::aws_mock::Seen;

/// Who may sign, and how the service reads paths.
pub(crate) struct Verifier {
    pub(crate) secret: String,
    pub(crate) region: &'static str,
    pub(crate) service: &'static str,
}

impl Verifier {
    /// Whether a request is signed as it should be; else what is wrong with it.
    pub(crate) fn verify(&self, seen: &Seen) -> Result<(), String> {
        let header = |name: &str| seen.header(name).ok_or(format!("there is no {name}"));
        let authorization = header("authorization")?;
        let parts = authorization
            .strip_prefix("AWS4-HMAC-SHA256 ")
            .ok_or("another algorithm")?;
        let part = |name: &str| {
            let found = parts.split(',').find_map(|part| part.trim().strip_prefix(name));
            found.ok_or(format!("no {name} in {authorization}"))
        };
        let (scope, signed, signature) = (part("Credential=")?, part("SignedHeaders=")?, part("Signature=")?);
        let time = header("x-amz-date")?;
        let day = time.get(..8).ok_or("a short date")?;
        let scope = scope.split_once('/').ok_or("a scope without key")?.1;
        let want = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        if scope != want {
            return Err(format!("scope {scope}, not {want}"));
        }
        let names: Vec<&str> = signed.split(';').collect();
        if !names.is_sorted() {
            return Err(format!("signed headers are not sorted: {signed}"));
        }
        for (name, _) in &seen.headers {
            let must = name == "host" || name == "content-type" || name.starts_with("x-amz-");
            if must && !names.contains(&name.as_str()) {
                return Err(format!("{name} is not signed"));
            }
        }
        let text = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            hex(&Sha256::digest(self.canonical(seen, &names)?.as_bytes()))
        );
        let mut key = hmac(format!("AWS4{}", self.secret).as_bytes(), day.as_bytes());
        for part in [self.region, self.service, "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        let want = hex(&hmac(&key, text.as_bytes()));
        if signature == want {
            Ok(())
        } else {
            Err(format!(
                "the signature does not match; the canonical request is\n{}",
                self.canonical(seen, &names)?
            ))
        }
    }

    fn canonical(&self, seen: &Seen, names: &[&str]) -> Result<String, String> {
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let body = hex(&Sha256::digest(&seen.body));
        let hash = seen.header("x-amz-content-sha256");
        if self.service == "s3" && hash.is_none() {
            return Err("there is no x-amz-content-sha256".to_owned());
        }
        if hash.is_some_and(|hash| hash != body) {
            return Err("x-amz-content-sha256 is not that of the body".to_owned());
        }
        let mut headers = String::new();
        for name in names {
            let value = seen
                .header(name)
                .ok_or(format!("{name} is signed and not there"))?;
            let value: Vec<&str> = value.split_whitespace().collect();
            headers.push_str(&format!("{name}:{}\n", value.join(" ")));
        }
        Ok([
            seen.method.as_str(),
            &self.path(path),
            &canonical_query(query),
            &headers,
            &names.join(";"),
            &body,
        ]
        .join("\n"))
    }

    /// S3 encodes the key once and leaves it as it is; the others normalise the path and encode what was
    /// sent.
    fn path(&self, sent: &str) -> String {
        if self.service == "s3" {
            return encoded(&decoded(sent), "/");
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in sent.split('/').filter(|part| !part.is_empty() && *part != ".") {
            match part {
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let end = if sent.ends_with('/') && !parts.is_empty() {
            "/"
        } else {
            ""
        };
        encoded(format!("/{}{end}", parts.join("/")).as_bytes(), "/")
    }
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encoded(&decoded(name), ""), encoded(&decoded(value), "")))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Everything but unreserved characters and those of `kept` as `%XX`.
fn encoded(bytes: &[u8], kept: &str) -> String {
    let mut out = String::new();
    for byte in bytes {
        let char = char::from(*byte);
        if char.is_ascii_alphanumeric() || "-._~".contains(char) || kept.contains(char) {
            out.push(char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits: Vec<u8> = bytes.by_ref().take(2).collect();
            let digits = std::str::from_utf8(&digits).unwrap();
            out.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(text)
        .finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner);
    outer.finalize().to_vec()
}

#[test]
fn the_hmac_is_that_of_the_rfc() {
    // RFC 4231, cases 2 and 6.
    assert_eq!(
        hex(&hmac(b"Jefe", b"what do ya want for nothing?")),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(
        hex(&hmac(
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First"
        )),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    );
}

#[test]
fn the_verifier_takes_the_documented_example() {
    // Scenario: the example that AWS documents (ListUsers of IAM). Guarantees: the verifier itself is right.
    let mut seen = Seen {
        method: "GET".to_owned(),
        target: "/?Action=ListUsers&Version=2010-05-08".to_owned(),
        headers: [
            ("host", "iam.amazonaws.com"),
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("x-amz-date", "20150830T123600Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date, \
                 Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        body: Vec::new(),
        at: std::time::SystemTime::now(),
    };
    let verifier = Verifier {
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        region: "us-east-1",
        service: "iam",
    };
    assert_eq!(verifier.verify(&seen), Ok(()));
    seen.target.push('x');
    assert!(verifier.verify(&seen).unwrap_err().contains("does not match"));
}
