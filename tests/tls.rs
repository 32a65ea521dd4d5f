//! The dangers: HTTP is spoken in clear or by a broken version, a certificate that changes takes a restart, a broken
//! one takes the node down, one that says nothing holds a place for ever, and a client believes anybody.

mod support;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use grapevine::{
    client::{ClientError, ClientOptions},
    config::NodeConfig,
    node::Node,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use serde_json::Value;
use support::{
    program::{complaint, grapevine, run},
    wait::until,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

const DEADLINE: Duration = Duration::from_secs(30);

/// An authority that nobody else knows.
struct Authority {
    certified: CertifiedKey,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let kind = rcgen::DnType::CommonName;
        params.distinguished_name.push(kind, name);
        let key_pair = KeyPair::generate().expect("there is randomness");
        let cert = params.self_signed(&key_pair).expect("it can be signed");
        Self {
            certified: CertifiedKey { cert, key_pair },
        }
    }

    fn pem(&self) -> String {
        self.certified.cert.pem()
    }

    /// A certificate for this machine, and its key, in PEM.
    fn vouch(&self) -> (String, String) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("good names");
        let key = KeyPair::generate().expect("there is randomness");
        let Self { certified } = self;
        let cert = params.signed_by(&key, &certified.cert, &certified.key_pair);
        (cert.expect("it can be signed").pem(), key.serialize_pem())
    }
}

/// A node that serves over TLS.
struct Served {
    node: Node,
    cert: PathBuf,
    key: PathBuf,
    directory: TempDir,
}

impl Served {
    async fn by(authority: &Authority) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (cert, key) = (
            directory.path().join("cert.pem"),
            directory.path().join("key.pem"),
        );
        write(&authority.vouch(), &cert, &key);
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = NodeConfig::new("alone", directory.path().join("data"), free, free);
        (config.tls_cert, config.tls_key) = (Some(cert.clone()), Some(key.clone()));
        let node = Node::start(config).await.expect("the node starts");
        Self {
            node,
            cert,
            key,
            directory,
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.node.http_addr().port())
    }

    /// The answer to `GET /ping` by a client that believes `authority` alone and speaks `versions`.
    async fn ping(
        &self,
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<String, String> {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("it is PEM");
        roots.add(der).expect("it is a certificate");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("they are known")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(self.node.http_addr())
            .await
            .expect("it listens");
        let name = ServerName::try_from("localhost").expect("a good name");
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| error.to_string())?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let request = b"GET /ping HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream
            .write_all(request)
            .await
            .map_err(|error| error.to_string())?;
        let mut answer = String::new();
        let read = timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
        read.expect("it answers")
            .map_err(|error| error.to_string())?;
        Ok(answer)
    }
}

fn write((cert, key): &(String, String), cert_path: &Path, key_path: &Path) {
    fs::write(cert_path, cert).expect("it can be written");
    fs::write(key_path, key).expect("it can be written");
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let authority = Authority::new("ours");
    let served = Served::by(&authority).await;
    for version in [&TLS12, &TLS13] {
        let answer = served
            .ping(&authority, &[version])
            .await
            .expect("it is spoken");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.contains("strict-transport-security: max-age="),
            "{answer}"
        );
        assert!(answer.ends_with("pong"), "{answer}");
    }
    // A client hello of TLS 1.1, with cipher suites that every version knows, and the extensions that 1.2 wants.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x13, 0xc0, 0x2f, 1, 0]);
    let signatures = [0, 13, 0, 6, 0, 4, 4, 1, 4, 3];
    let groups = [0, 10, 0, 6, 0, 4, 0, 0x17, 0, 0x1d];
    let points = [0, 11, 0, 2, 1, 0];
    hello.extend([0, 26]);
    hello.extend(signatures.into_iter().chain(groups).chain(points));
    let length = u8::try_from(hello.len()).expect("it is short");
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    let mut stream = TcpStream::connect(served.node.http_addr())
        .await
        .expect("it listens");
    stream.write_all(&record).await.expect("it reads");
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    read.expect("it closes").expect("in good order");
    // An alert, fatal: protocol_version.
    assert_eq!(
        (answer.first(), answer.last()),
        (Some(&0x15), Some(&70)),
        "{answer:?}"
    );
    assert_eq!(answer.get(5), Some(&2));
}

#[tokio::test]
async fn plain_http_is_not_answered_where_tls_is_spoken() {
    let authority = Authority::new("ours");
    let served = Served::by(&authority).await;
    let mut stream = TcpStream::connect(served.node.http_addr())
        .await
        .expect("it listens");
    let request = b"GET /v1/kv HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut answer = Vec::new();
    let _reset = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("it closes");
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    let answer = served
        .ping(&authority, &[&TLS13])
        .await
        .expect("others are answered");
    assert!(answer.ends_with("pong"));
}

#[tokio::test]
async fn a_certificate_that_changes_takes_no_restart_and_a_broken_one_changes_nothing() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let served = Served::by(&old).await;
    let versions = [&TLS13];
    served
        .ping(&old, &versions)
        .await
        .expect("the old one is believed");
    served
        .ping(&new, &versions)
        .await
        .expect_err("the new one vouches for nothing yet");
    // What is half of a change, or no certificate at all, is looked at or not; either way the old one stays.
    let (cert, key) = new.vouch();
    fs::write(&served.cert, &cert).expect("it can be written");
    served
        .ping(&old, &versions)
        .await
        .expect("the old one stays");
    fs::write(&served.cert, "nonsense").expect("it can be written");
    served
        .ping(&old, &versions)
        .await
        .expect("the old one stays");
    fs::remove_file(&served.cert).expect("it is there");
    served
        .ping(&old, &versions)
        .await
        .expect("the old one stays");
    write(&(cert, key), &served.cert, &served.key);
    until("change of the certificate", async || {
        served.ping(&new, &versions).await
    })
    .await;
    served
        .ping(&old, &versions)
        .await
        .expect_err("the old one is gone");
}

#[tokio::test]
async fn a_node_does_not_start_with_what_it_cannot_serve_with() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let ours = Authority::new("ours");
    let (good, other) = (ours.vouch(), ours.vouch());
    fs::write(path("cert"), &good.0).expect("it can be written");
    fs::write(path("key"), &good.1).expect("it can be written");
    fs::write(path("other"), &other.1).expect("it can be written");
    fs::write(path("nonsense"), "nonsense").expect("it can be written");
    for (cert, key, why) in [
        ("cert", "other", "cannot be used together"),
        ("nonsense", "key", "does not hold certificates"),
        ("cert", "nonsense", "does not hold a private key"),
        ("cert", "missing", "cannot read"),
        ("key", "key", "does not hold certificates"),
    ] {
        let mut command = grapevine();
        command.args([
            "serve",
            "--name",
            "a",
            "--http",
            "127.0.0.1:0",
            "--peer",
            "127.0.0.1:0",
        ]);
        command.arg("--data").arg(path("data"));
        command
            .arg("--tls-cert")
            .arg(path(cert))
            .arg("--tls-key")
            .arg(path(key));
        let ended = run(&mut command);
        assert_eq!(ended.status.code(), Some(1), "{cert} {key}");
        let complaint = complaint(&ended);
        assert!(complaint.contains(why), "{cert} {key}: {complaint}");
        let secret = other.1.lines().nth(1).expect("a key has lines");
        assert!(!complaint.contains(secret), "{complaint}");
    }
    let mut alone = grapevine();
    alone.args(["serve", "--name", "a", "--data", "d", "--tls-cert", "c"]);
    let ended = run(&mut alone);
    assert_eq!(ended.status.code(), Some(2), "{}", complaint(&ended));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_believes_whom_it_is_told_to_and_nobody_else() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let served = Served::by(&ours).await;
    let client = |authority: Option<&Authority>| {
        let mut options = ClientOptions::default()
            .node(&served.url())
            .expect("an address");
        if let Some(authority) = authority {
            options = options.authorities(authority.pem().into_bytes());
        }
        options.rounds(1).connect().expect("it can be made")
    };
    let told = client(Some(&ours));
    told.kv()
        .put("a", "text/plain", "x")
        .await
        .expect("it is stored");
    for authority in [Some(&other), None] {
        let refused = client(authority)
            .ping()
            .await
            .expect_err("nobody it believes vouches");
        assert!(
            matches!(refused, ClientError::Unreachable { .. }),
            "{refused}"
        );
    }
    let (ca, token) = (
        served.directory.path().join("ca.pem"),
        served.directory.path().join("token"),
    );
    fs::write(&ca, ours.pem()).expect("it can be written");
    let ask = |arguments: &[&str]| {
        let mut command = grapevine();
        command
            .args(arguments)
            .args(["--node", &served.url()])
            .arg("--ca")
            .arg(&ca);
        run(&mut command)
    };
    let got = ask(&["kv", "get", "a"]);
    assert_eq!(got.stdout, b"x", "{}", complaint(&got));
    let made = ask(&["token", "bootstrap", "--out", &token.display().to_string()]);
    assert!(made.status.success(), "{}", complaint(&made));
    let refused = ask(&["kv", "get", "a"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        complaint(&refused).contains("A token is needed"),
        "{}",
        complaint(&refused)
    );
    let mut command = grapevine();
    command.args(["token", "list", "--json", "--node", &served.url()]);
    command
        .env("GRAPEVINE_CA", &ca)
        .env("GRAPEVINE_TOKEN_FILE", &token);
    let listed = run(&mut command);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("one line of JSON");
    assert_eq!(listed["role"], "admin");
    let nothing = ask(&["kv", "get", "a", "--token-file", "/nowhere/token"]);
    assert_eq!(nothing.status.code(), Some(1), "{}", complaint(&nothing));
}
