//! The gate's certificate. It is read anew when its files change, so that a renewal needs no restart.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, version};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Why no certificate can be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} holds no such thing in PEM")]
    Pem {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("the certificate and the key cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// The certificate that is in use.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: [PathBuf; 2],
    acceptor: RwLock<Arc<ServerConfig>>,
}

impl Certificate {
    /// The certificate that the configuration names, if it names one.
    pub(crate) fn of(gate: &config::Gate) -> Result<Option<Arc<Self>>, TlsError> {
        let (Some(certificate), Some(key)) = (&gate.certificate, &gate.key) else {
            return Ok(None);
        };
        let files = [certificate.clone(), key.clone()];
        let acceptor = RwLock::new(Arc::new(load(&files)?));
        let certificate = Arc::new(Self { files, acceptor });
        tokio::spawn(Arc::clone(&certificate).follow());
        Ok(Some(certificate))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.acceptor.read()))
    }

    fn stamps(&self) -> [Option<SystemTime>; 2] {
        let stamp = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
        [stamp(&self.files[0]), stamp(&self.files[1])]
    }

    async fn follow(self: Arc<Self>) {
        let mut known = self.stamps();
        loop {
            sleep(LOOK).await;
            let stamps = self.stamps();
            if stamps == known {
                continue;
            }
            match load(&self.files) {
                Ok(loaded) => {
                    *self.acceptor.write() = Arc::new(loaded);
                    known = stamps;
                    tracing::info!("the certificate was read anew");
                }
                // Perhaps only one of the two files has been replaced yet.
                Err(error) => tracing::warn!("the earlier certificate is kept: {error}"),
            }
        }
    }
}

/// Whether the gate can use these files as they are now.
pub(crate) fn check(certificate: &Path, key: &Path) -> Result<(), TlsError> {
    load(&[certificate.to_owned(), key.to_owned()]).map(drop)
}

impl TlsError {
    /// The file that cannot be used; none where both do not go together.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Read { path, .. } | Self::Pem { path, .. } => Some(path),
            Self::Unusable(_) => None,
        }
    }
}

fn load([certificate, key]: &[PathBuf; 2]) -> Result<ServerConfig, TlsError> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|source| TlsError::Read { path: path.clone(), source })
    };
    let pem = |path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::Pem { path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(pem(certificate))?;
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(pem(key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
