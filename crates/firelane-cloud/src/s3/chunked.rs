//! Bodies in `aws-chunked` form, as SDKs send them:
//!
//! ```text
//! <size in hex>[;chunk-signature=<hex>]\r\n <bytes> \r\n ... 0[;chunk-signature=<hex>]\r\n
//! [<trailer>:<value>\r\n ... [x-amz-trailer-signature:<hex>\r\n]] \r\n
//! ```
//!
//! A value: bytes go in as they come, cut anywhere; data come out. Signatures are checked where the key is
//! known.

use sha2::{Digest, Sha256};

use super::EMPTY;
use crate::auth::{SigningKey, hex};

/// Longest line of a chunk's head or a trailer.
const LINE_MAX: usize = 4096;
/// Most trailers.
const TRAILERS_MAX: usize = 16;

/// Names in lower case, and values.
pub(super) type Trailers = Vec<(String, String)>;

/// Why a body is not of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    Form,
    Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The line that begins a chunk.
    Head,
    /// So many bytes of data are left.
    Data(u64),
    /// The line end behind data.
    End,
    /// Lines behind the last chunk.
    Trailers,
    Done,
}

/// A chunk's signature, under way.
#[derive(Clone)]
struct Signing {
    key: SigningKey,
    /// Signature before this one.
    previous: String,
    /// What the chunk states.
    stated: String,
    hash: Sha256,
    /// Canonical trailers.
    trailers: String,
}

/// Takes a body apart.
#[derive(Clone)]
pub(super) struct Dechunker {
    step: Step,
    line: Vec<u8>,
    signing: Option<Signing>,
    trailers: Trailers,
}

impl Dechunker {
    /// `signing`: the key and the request's own signature, where chunks are signed and the key is known.
    pub(super) fn new(signing: Option<(SigningKey, String)>) -> Self {
        Self {
            step: Step::Head,
            line: Vec::new(),
            signing: signing.map(|(key, previous)| Signing {
                key,
                previous,
                stated: String::new(),
                hash: Sha256::new(),
                trailers: String::new(),
            }),
            trailers: Vec::new(),
        }
    }

    /// Takes bytes; data are appended to `out`.
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if let Step::Data(left) = self.step {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let (data, rest) = bytes.split_at_checked(take).ok_or(Malformed::Form)?;
                out.extend_from_slice(data);
                if let Some(signing) = &mut self.signing {
                    signing.hash.update(data);
                }
                bytes = rest;
                let left = left - take as u64;
                self.step = if left == 0 { Step::End } else { Step::Data(left) };
                continue;
            }
            if self.step == Step::Done {
                return Err(Malformed::Form);
            }
            let (part, whole, rest) = match memchr::memchr(b'\n', bytes) {
                Some(at) => {
                    let (line, rest) = bytes.split_at_checked(at + 1).ok_or(Malformed::Form)?;
                    (line, true, rest)
                }
                None => (bytes, false, &[][..]),
            };
            self.line.extend_from_slice(part);
            bytes = rest;
            if self.line.len() > LINE_MAX {
                return Err(Malformed::Form);
            }
            if whole {
                let line = std::mem::take(&mut self.line);
                let line = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n"));
                self.line(std::str::from_utf8(line.unwrap_or_default()).map_err(|_| Malformed::Form)?)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), Malformed> {
        match self.step {
            Step::Head => self.head(line),
            Step::End if line.is_empty() => {
                self.check()?;
                self.step = Step::Head;
                Ok(())
            }
            Step::Trailers => self.trailer(line),
            _ => Err(Malformed::Form),
        }
    }

    fn head(&mut self, line: &str) -> Result<(), Malformed> {
        let mut parts = line.split(';');
        let size = parts.next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| Malformed::Form)?;
        if let Some(signing) = &mut self.signing {
            let stated = parts.find_map(|part| part.trim().strip_prefix("chunk-signature="));
            signing.stated = stated.ok_or(Malformed::Signature)?.to_owned();
            signing.hash = Sha256::new();
        }
        if size == 0 {
            self.check()?;
            self.step = Step::Trailers;
        } else {
            self.step = Step::Data(size);
        }
        Ok(())
    }

    /// Checks the signature of the chunk that has ended.
    fn check(&mut self) -> Result<(), Malformed> {
        let Some(signing) = &mut self.signing else {
            return Ok(());
        };
        let hash = hex(&std::mem::take(&mut signing.hash).finalize());
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{EMPTY}\n{hash}",
            signing.key.context, signing.previous
        );
        let own = signing.key.sign(&text);
        if own != signing.stated {
            return Err(Malformed::Signature);
        }
        signing.previous = own;
        Ok(())
    }

    fn trailer(&mut self, line: &str) -> Result<(), Malformed> {
        if line.is_empty() {
            self.step = Step::Done;
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or(Malformed::Form)?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if self.trailers.len() >= TRAILERS_MAX {
            return Err(Malformed::Form);
        }
        if let Some(signing) = &mut self.signing {
            if name == "x-amz-trailer-signature" {
                let hash = hex(&Sha256::digest(&signing.trailers));
                let text = format!(
                    "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{hash}",
                    signing.key.context, signing.previous
                );
                return match signing.key.sign(&text) == value {
                    true => Ok(()),
                    false => Err(Malformed::Signature),
                };
            }
            signing.trailers.push_str(&format!("{name}:{value}\n"));
        }
        self.trailers.push((name, value.to_owned()));
        Ok(())
    }

    /// The trailers, once everything has come. Some clients leave out the last empty line.
    pub(super) fn finish(self) -> Result<Trailers, Malformed> {
        match self.step {
            Step::Done | Step::Trailers if self.line.is_empty() => Ok(self.trailers),
            _ => Err(Malformed::Form),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What came out, fed in pieces that end at `cuts`.
    fn run(body: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, Trailers), Malformed> {
        let mut dechunker = Dechunker::new(None);
        let mut out = Vec::new();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        for cut in cuts.windows(2) {
            dechunker.push(&body[cut[0]..cut[1]], &mut out)?;
        }
        Ok((out, dechunker.finish()?))
    }

    #[test]
    fn trailers_come_out() {
        let body = b"5\r\nhello\r\n1;chunk-signature=ab\r\n!\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        let (data, trailers) = run(body, &[]).unwrap();
        assert_eq!(data, b"hello!");
        assert_eq!(
            trailers,
            [("x-amz-checksum-crc32".to_string(), "AAAAAA==".to_string())]
        );
    }

    /// The example of AWS's documentation: a body of 65 KiB in signed chunks.
    #[test]
    fn signed_chunks_are_verified() {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
            SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
            x-amz-decoded-content-length;x-amz-storage-class,\
            Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let head = axum::http::Request::put("/examplebucket/chunkObject.txt")
            .header("host", "s3.amazonaws.com")
            .header("x-amz-date", "20130524T000000Z")
            .header("x-amz-storage-class", "REDUCED_REDUNDANCY")
            .header("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", "66560")
            .header("content-length", "66824")
            .header("authorization", authorization)
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let signature = crate::auth::Signature::read(&head).unwrap().unwrap();
        let now = crate::time::parse_basic("20130524T000100Z").unwrap();
        let payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let key = signature.verify(secret, &head, payload, now).unwrap();
        let mut body = Vec::new();
        for (size, signature) in [
            (
                65536,
                "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            ),
            (
                1024,
                "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            ),
            (
                0,
                "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ),
        ] {
            body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            body.extend_from_slice(&vec![b'a'; size]);
            body.extend_from_slice(b"\r\n");
        }
        let signing = Some((key, signature.value));
        let mut out = Vec::new();
        let mut good = Dechunker::new(signing.clone());
        good.push(&body, &mut out).unwrap();
        assert_eq!(good.finish(), Ok(Vec::new()));
        assert_eq!(out, vec![b'a'; 66560]);
        body[70000 - 4000] = b'b';
        let mut bad = Dechunker::new(signing);
        assert_eq!(bad.push(&body, &mut Vec::new()), Err(Malformed::Signature));
    }

    #[test]
    fn what_is_cut_short_is_malformed() {
        for body in [
            &b"5\r\nhel"[..],
            b"x\r\n",
            b"5\r\nhelloo\r\n0\r\n\r\n",
            b"0\r\n\r\nmore",
            b"5",
        ] {
            assert!(run(body, &[]).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\na:b\r\n\r\n");
            let (data, trailers) = run(&body, &cuts).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert_eq!(trailers.len(), 1);
        }

        #[test]
        fn junk_never_panics(
            junk in prop::collection::vec(any::<u8>(), 0..80),
            cuts in prop::collection::vec(any::<usize>(), 0..4),
        ) {
            let _ = run(&junk, &cuts);
        }
    }
}
