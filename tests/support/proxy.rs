//! A TCP proxy that tears connections off in the middle of what the target sends.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// How much is passed on at once; a cut is exact to this many bytes.
const CHUNK_BYTES: usize = 16 * 1024;

/// Forwards connections to one target; ends when dropped.
#[derive(Debug)]
pub struct TearingProxy {
    address: SocketAddr,
    torn: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl TearingProxy {
    /// Forwards to `target`. As soon as the target has sent `cuts[0]` bytes on a connection, that one is torn
    /// off; then the first that brings `cuts[1]`; and so on. Once all cuts are made nothing is torn.
    pub async fn start(target: String, cuts: Vec<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let torn = Arc::new(AtomicUsize::new(0));
        let counter = torn.clone();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (target, cuts, torn) = (target.clone(), cuts.clone(), counter.clone());
                connections.spawn(async move { forward(client, &target, &cuts, &torn).await });
            }
        });
        Self {
            address,
            torn,
            _accepting: accepting,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many connections it has torn off.
    pub fn torn(&self) -> usize {
        self.torn.load(Ordering::SeqCst)
    }
}

/// Passes bytes both ways, until the next cut.
async fn forward(client: TcpStream, target: &str, cuts: &[usize], torn: &AtomicUsize) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    // A reset, as when a cable is pulled or a process dies; not a polite end.
    for stream in [&client, &server] {
        stream.set_zero_linger().expect("it is a TCP socket");
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        let _ended = copy(&mut from_client, &mut to_server).await;
    };
    let back = async {
        let mut passed = 0;
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from_server.read(&mut chunk).await {
            passed += read;
            let next = torn.load(Ordering::SeqCst);
            if cuts.get(next).is_some_and(|cut| passed >= *cut) {
                torn.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if to_client.write_all(&chunk[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}
