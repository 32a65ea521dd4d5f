//! TLS for HTTP, by `rustls`: 1.2 and 1.3, with a certificate that is read again when its files change.
//!
//! The files are read every few seconds and compared, not watched: that works for links that are swapped, and for
//! whatever a file system tells or does not tell of its times. What cannot be used (half of a change, say: a new
//! certificate beside the old key) is logged once and changes nothing; connections that stand keep what they have.
//!
//! Invariant: a private key is in no message.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How often the files are looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(2);
/// How long a handshake may take, the time that it waits for its turn included.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How many handshakes are made at once.
const MAX_HANDSHAKES: usize = 256;
/// The most bytes of each file.
const MAX_FILE_BYTES: u64 = 1_024 * 1_024;
/// HTTP/1.1 is what is spoken here.
const PROTOCOL: &[u8] = b"http/1.1";
const NOT_POISONED: &str = "no holder of the lock panics";

/// Why TLS cannot be served with these files. No state changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} does not hold {what} in PEM", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Certificate and key cannot be used.
    #[error("the certificate and its key cannot be used together: {0}")]
    Unusable(rustls::Error),
}

/// The files as they are.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// How HTTP is carried over TLS.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    /// What was looked at last.
    seen: Mutex<Files>,
    handshakes: Semaphore,
    handshake_within: Duration,
}

/// The certificate of the next connection.
struct Certificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate chain in `cert` and its private key in `key`.
    pub fn open(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let files = Files::read(cert, key)?;
        let certified = files.certified(cert, key, &provider)?;
        let certificate = Arc::new(Certificate(ArcSwap::from_pointee(certified)));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Unusable)?
            .with_no_client_auth();
        let mut config = config.with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
            seen: Mutex::new(files),
            handshakes: Semaphore::new(MAX_HANDSHAKES),
            handshake_within: HANDSHAKE_WITHIN,
        })
    }

    /// The connection behind the handshake, which must not take too long.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let shaken = async {
            let _turn = self.handshakes.acquire().await;
            self.acceptor.accept(stream).await
        };
        timeout(self.handshake_within, shaken)
            .await
            .unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Looks at the files again and again.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        loop {
            sleep(LOOK_PERIOD).await;
            let tls = self.clone();
            let looked = tokio::task::spawn_blocking(move || tls.look());
            match looked.await {
                Ok(Ok(true)) => tracing::info!(
                    certificate = %self.cert.display(),
                    "HTTP is served with another certificate from now on"
                ),
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => tracing::error!(
                    %error,
                    "the certificate was changed and cannot be used; the one before stays"
                ),
            }
        }
    }

    /// Takes what has changed; says whether anything has. An error is told once for each change.
    fn look(&self) -> Result<bool, TlsError> {
        let mut seen = self.seen.lock().expect(NOT_POISONED);
        let files = match Files::read(&self.cert, &self.key) {
            Ok(files) => files,
            Err(error) => {
                let gone = Files {
                    cert: Vec::new(),
                    key: Vec::new(),
                };
                let is_new = *seen != gone;
                *seen = gone;
                return if is_new { Err(error) } else { Ok(false) };
            }
        };
        if files == *seen {
            return Ok(false);
        }
        *seen = files.clone();
        let provider = self.acceptor.config().crypto_provider().clone();
        let certified = files.certified(&self.cert, &self.key, &provider)?;
        self.certificate.0.store(Arc::new(certified));
        Ok(true)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("cert", &self.cert)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Files {
    fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            cert: read(cert)?,
            key: read(key)?,
        })
    }

    /// What is served with, if the certificate is that of the key.
    fn certified(
        &self,
        cert: &Path,
        key: &Path,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let not_pem = |path: &Path, what| TlsError::NotPem {
            path: path.to_owned(),
            what,
        };
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(&self.cert).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| not_pem(cert, "certificates"))?;
        let secret =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| not_pem(key, "a private key"))?;
        CertifiedKey::from_der(chain, secret, provider).map_err(TlsError::Unusable)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    read.map_err(|source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;
    use tokio::net::TcpListener;

    use super::*;

    /// A certificate and its key.
    fn made() -> (String, String) {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a good name");
        let key = KeyPair::generate().expect("there is randomness");
        let cert = params.self_signed(&key).expect("it can be signed");
        (cert.pem(), key.serialize_pem())
    }

    fn opened(directory: &TempDir) -> Tls {
        let (cert, key) = made();
        let paths = ["cert", "key"].map(|name| directory.path().join(name));
        fs::write(&paths[0], cert).expect("it can be written");
        fs::write(&paths[1], key).expect("it can be written");
        Tls::open(&paths[0], &paths[1]).expect("they belong together")
    }

    #[test]
    fn what_cannot_be_used_is_told_once_and_changes_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let tls = opened(&directory);
        let served = || tls.certificate.0.load_full().cert.clone();
        let before = served();
        assert!(matches!(tls.look(), Ok(false)));
        let (cert, key) = made();
        for broken in [cert.as_str(), "nonsense", ""] {
            fs::write(&tls.cert, broken).expect("it can be written");
            tls.look().expect_err("it is not the key's");
            assert!(matches!(tls.look(), Ok(false)), "it was told");
            assert_eq!(served(), before);
        }
        fs::remove_file(&tls.cert).expect("it is there");
        tls.look().expect_err("it is not there");
        assert!(matches!(tls.look(), Ok(false)), "it was told");
        assert_eq!(served(), before);
        fs::write(&tls.cert, &cert).expect("it can be written");
        tls.look().expect_err("the key is still the old one");
        fs::write(&tls.key, &key).expect("it can be written");
        assert!(matches!(tls.look(), Ok(true)));
        assert_ne!(served(), before);
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_gives_its_place_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut tls = opened(&directory);
        tls.handshake_within = Duration::from_millis(50);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let _silent = TcpStream::connect(address).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("somebody connects");
        let refused = timeout(Duration::from_secs(30), tls.accept(stream)).await;
        let refused = refused
            .expect("it is given up")
            .expect_err("nothing was said");
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert_eq!(tls.handshakes.available_permits(), MAX_HANDSHAKES);
    }

    #[test]
    fn a_key_is_not_shown() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let tls = opened(&directory);
        let shown = format!("{tls:?}");
        assert!(
            shown.contains("key") && !shown.contains("PRIVATE"),
            "{shown}"
        );
    }
}
