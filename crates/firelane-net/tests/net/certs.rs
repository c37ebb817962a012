//! Certificates made for one test.

use std::path::{Path, PathBuf};

use firelane_net::TlsConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

/// A folder with `ca.pem`, `server.pem` and `server.key` (for the given names), `client.pem` and
/// `client.key`.
pub(crate) struct Certs {
    folder: tempfile::TempDir,
}

impl Certs {
    pub(crate) fn new(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        issue(folder.path(), names, 4096);
        Self { folder }
    }

    /// Good until the end of 2020.
    pub(crate) fn expired(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        issue(folder.path(), names, 2020);
        Self { folder }
    }

    /// Everything anew, from a new authority, in place of what was there.
    pub(crate) fn renew(&self, names: &[&str]) {
        issue(self.folder.path(), names, 4096);
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn server(&self) -> TlsConfig {
        TlsConfig {
            crt_file: Some(self.path("server.pem")),
            key_file: Some(self.path("server.key")),
            ..TlsConfig::default()
        }
    }

    pub(crate) fn client(&self) -> TlsConfig {
        TlsConfig {
            ca_file: Some(self.path("ca.pem")),
            ..TlsConfig::default()
        }
    }

    /// A client that has a certificate.
    pub(crate) fn known_client(&self) -> TlsConfig {
        TlsConfig {
            crt_file: Some(self.path("client.pem")),
            key_file: Some(self.path("client.key")),
            ..self.client()
        }
    }

    /// A server that takes no other clients.
    pub(crate) fn strict_server(&self) -> TlsConfig {
        TlsConfig {
            verify_client_cert: true.into(),
            ca_file: Some(self.path("ca.pem")),
            ..self.server()
        }
    }
}

/// Writes a whole set of files, good from 2000 to `last_year`.
pub(crate) fn issue(folder: &Path, names: &[&str], last_year: i32) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    for (file, names) in [("server", names), ("client", &["client"][..])] {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let certificate = params.signed_by(&key, &ca).unwrap();
        std::fs::write(folder.join(format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
}
