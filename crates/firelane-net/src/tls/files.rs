//! Reading the files that `tls.*` names.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{TlsConfig, TlsError, key};

/// Our own certificate, with its chain, and its key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// Where the certificate comes from.
    pub(super) crt_file: PathBuf,
}

/// Our own certificate and key; both or neither.
pub(super) fn identity(config: &TlsConfig) -> Result<Option<Identity>, TlsError> {
    let half = |have, miss| Err(TlsError::HalfIdentity { have, miss });
    let (crt, key_file) = match (&config.crt_file, &config.key_file) {
        (None, None) => return Ok(None),
        (Some(crt), Some(key)) => (crt, key),
        (Some(_), None) => return half("tls.crt_file", "tls.key_file"),
        (None, Some(_)) => return half("tls.key_file", "tls.crt_file"),
    };
    Ok(Some(Identity {
        chain: certificates(crt)?,
        key: key::read(key_file, &read(key_file)?, config.key_passwd.as_ref())?,
        crt_file: crt.clone(),
    }))
}

/// Authorities named by the configuration; `None` where it names none.
pub(super) fn own_roots(config: &TlsConfig) -> Result<Option<RootCertStore>, TlsError> {
    if config.ca_file.is_none() && config.ca_path.is_none() {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    if let Some(file) = &config.ca_file {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(bad(file))?;
        }
    }
    if let Some(folder) = &config.ca_path {
        let unreadable = |source| TlsError::Read {
            path: folder.clone(),
            source,
        };
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            paths.push(entry.map_err(unreadable)?.path());
        }
        paths.sort();
        // The folder is the system administrator's: files that hold no certificate are none of our business.
        for path in paths.iter().filter(|path| path.is_file()) {
            if let Ok(found) = certificates(path) {
                roots.add_parsable_certificates(found);
            }
        }
        if roots.is_empty() {
            return Err(TlsError::NoCertificate { path: folder.clone() });
        }
    }
    Ok(Some(roots))
}

/// The system's bundle of authorities.
pub(super) fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found
            .errors
            .first()
            .map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(TlsError::NoSystemRoots { reason });
    }
    Ok(roots)
}

/// The error of a certificate that rustls does not take.
pub(super) fn bad(path: &Path) -> impl FnOnce(rustls::Error) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError::BadCertificate {
        path,
        reason: error.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let list: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::BadCertificate {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    if list.is_empty() {
        Err(TlsError::NoCertificate {
            path: path.to_owned(),
        })
    } else {
        Ok(list)
    }
}
