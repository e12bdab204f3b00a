//! Who is at the other end: an address, and how we know that it is they who answer there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::Uri;
use axum::http::uri::{Authority, InvalidUri};
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::accounts::{self, AccountError};

/// The system's certificates, as Debian has them; `SSL_CERT_FILE` names others, as for other programs.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why nothing can ever be sent to a receiver.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("{url:?} is no address")]
    #[expect(missing_docs, reason = "the message says it")]
    Address {
        url: String,
        #[source]
        source: InvalidUri,
    },
    #[error("{0:?} names no host")]
    #[expect(missing_docs, reason = "the message says it")]
    NoHost(String),
    #[error("{path} cannot be read as certificates")]
    #[expect(missing_docs, reason = "the message says it")]
    Certificates {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("{0} holds no certificate")]
    #[expect(missing_docs, reason = "the message says it")]
    NoCertificate(PathBuf),
    #[error("{path} cannot be read as our certificate")]
    #[expect(missing_docs, reason = "the message says it")]
    Own {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("{path} cannot be read as a private key")]
    #[expect(missing_docs, reason = "the message says it")]
    Key {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error(transparent)]
    #[expect(missing_docs, reason = "the message says it")]
    Open(#[from] AccountError),
    #[error("our certificate and its key cannot be used")]
    #[expect(missing_docs, reason = "the message says it")]
    Unfit(#[source] rustls::Error),
    #[error("TLS cannot be used")]
    #[expect(missing_docs, reason = "the message says it")]
    Tls(#[from] rustls::Error),
}

impl PeerError {
    /// The key of the receiver's table that can mend it.
    pub(super) fn key(&self, has_ca: bool) -> &'static str {
        match self {
            Self::Certificates { .. } | Self::NoCertificate(_) if has_ca => "ca",
            Self::Own { .. } | Self::Unfit(_) => "certificate",
            Self::Key { .. } | Self::Open(_) => "key",
            _ => "url",
        }
    }

    pub(super) fn hint(&self) -> String {
        match self {
            Self::Own { .. } | Self::Key { .. } | Self::Open(_) | Self::Unfit(_) => {
                "`certificate` and `key` name files, as PEM, that only the gate's user can read"
                    .into()
            }
            Self::Address { .. } | Self::NoHost(_) => "`url` names a host".into(),
            _ => "`ca` names a file with certificates, as PEM".into(),
        }
    }
}

/// Nobody is there, or somebody else.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("cannot connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// A connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// What tells a receiver that it is we who connect.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// How a kind of receiver is reached.
#[derive(Debug)]
pub(super) struct Way {
    /// What an address with TLS begins with.
    pub(super) scheme: &'static str,
    /// The usual ports, with TLS and without.
    pub(super) ports: [u16; 2],
    /// The protocol, for servers that have several at one port.
    pub(super) alpn: Option<&'static str>,
}

/// Somebody to connect to.
#[derive(Debug)]
pub(super) struct Peer {
    uri: Uri,
    authority: Authority,
    host: String,
    port: u16,
    tls: Option<Tls>,
}

#[derive(Debug)]
struct Tls {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    alpn: Option<&'static str>,
    identity: Option<Identity>,
}

impl Peer {
    /// The peer at an address, for whom these certificates vouch.
    pub(super) fn new(
        url: &str,
        way: &Way,
        ca: Option<&Path>,
        identity: Option<Identity>,
    ) -> Result<Self, PeerError> {
        let failed = |source| PeerError::Address { url: url.to_owned(), source };
        let uri: Uri = url.parse().map_err(failed)?;
        let no_host = || PeerError::NoHost(url.to_owned());
        let authority = uri.authority().ok_or_else(no_host)?.clone();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = uri.scheme_str() == Some(way.scheme);
        let tls = match is_tls {
            true => {
                let name = ServerName::try_from(host.clone()).map_err(|_| no_host())?;
                let roots = Arc::new(roots(ca)?);
                let config = Arc::new(client(&roots, way.alpn, identity.as_ref())?);
                Some(Tls { name, config, roots, alpn: way.alpn, identity })
            }
            false => None,
        };
        let [private, plain] = way.ports;
        let port = authority.port_u16().unwrap_or(if is_tls { private } else { plain });
        Ok(Self { uri, authority, host, port, tls })
    }

    /// The address as it was given.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Host and port as in the address.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// A new connection. A certificate of our own is read for each, so that it can be renewed meanwhile.
    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let address = || self.authority.to_string();
        let failed = |source| ConnectError::Connect { address: address(), source };
        let stream = TcpStream::connect((&*self.host, self.port)).await.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let config = match &tls.identity {
            Some(identity) => Arc::new(client(&tls.roots, tls.alpn, Some(identity))?),
            None => Arc::clone(&tls.config),
        };
        let connector = TlsConnector::from(config);
        let stream = connector.connect(tls.name.clone(), stream).await.map_err(failed)?;
        Ok(Box::new(stream))
    }
}

/// The certificates that vouch for receivers.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, PeerError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let path = ca.map(Path::to_owned).or(named).unwrap_or_else(|| CERTIFICATES.into());
    let failed = |source| PeerError::Certificates { path: path.clone(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&path).map_err(failed)? {
        // Among the system's may be one that rustls cannot use.
        let _ = roots.add(certificate.map_err(failed)?);
    }
    match roots.is_empty() {
        true => Err(PeerError::NoCertificate(path)),
        false => Ok(roots),
    }
}

/// The client's side of TLS.
fn client(
    roots: &Arc<RootCertStore>,
    alpn: Option<&str>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, PeerError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_root_certificates(Arc::clone(roots));
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let failed = |source| PeerError::Own { path: certificate.clone(), source };
            let chain = CertificateDer::pem_file_iter(certificate).map_err(failed)?;
            let chain = chain.collect::<Result<Vec<_>, _>>().map_err(failed)?;
            if chain.is_empty() {
                return Err(failed(pem::Error::NoItemsFound));
            }
            accounts::secret(key)?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|source| PeerError::Key { path: key.clone(), source })?;
            config.with_client_auth_cert(chain, private).map_err(PeerError::Unfit)?
        }
    };
    config.alpn_protocols = alpn.map(|name| name.as_bytes().to_vec()).into_iter().collect();
    Ok(config)
}
