//! The network between the nodes: what every connection and datagram passes on its way, and what happens to it
//! there.
//!
//! Each node lives in a network namespace of its own, in which the addresses of the others are local: there the
//! [`port`](crate::port) of the node listens, and brings what comes over Unix sockets to the one switch here. So
//! neither the nodes nor the kernel know that the network is made up, and a cut is as silent as a pulled cable.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rand::RngExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixDatagram, UnixListener, UnixStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How many nodes there are.
pub(crate) const NODES: usize = 5;

/// The greatest payload of a UDP datagram, and the two bytes that say from whom to whom.
pub(crate) const MAX_DATAGRAM_BYTES: usize = 65_507 + 2;

/// What a connection begins with: its kind and, of peers, who calls whom.
pub(crate) const HEADER_BYTES: usize = 3;
pub(crate) const TO_PEER: u8 = b'P';
pub(crate) const TO_HTTP: u8 = b'H';

const CHUNK_BYTES: usize = 16 * 1024;

/// How many chunks are under way on one direction of a connection.
const MAX_CHUNKS: usize = 64;

/// How long TCP takes to send a lost segment again, about.
const RETRANSMIT: Duration = Duration::from_millis(200);

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    pub(crate) cut: bool,
    pub(crate) delay_ms: u64,
    /// Percent of datagrams that vanish, and of segments that come late.
    pub(crate) loss: u32,
}

/// How the network is just now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    /// From whom to whom.
    pub(crate) links: [[Link; NODES]; NODES],
    /// Nodes whose answers to clients are torn off.
    pub(crate) mute: [bool; NODES],
    /// How often the connections of a node have been reset.
    pub(crate) resets: [u64; NODES],
}

/// The switch. What passes it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    weather: Arc<watch::Sender<Weather>>,
    http: Vec<String>,
    _tasks: JoinSet<()>,
}

pub(crate) fn switch_stream(directory: &Path) -> PathBuf {
    directory.join("switch.stream")
}

pub(crate) fn switch_datagram(directory: &Path) -> PathBuf {
    directory.join("switch.datagram")
}

pub(crate) fn port_stream(directory: &Path, node: usize) -> PathBuf {
    directory.join(format!("port-{node}.stream"))
}

pub(crate) fn port_datagram(directory: &Path, node: usize) -> PathBuf {
    directory.join(format!("port-{node}.datagram"))
}

impl Network {
    /// A network in which nothing is wrong. Its sockets are in `directory`.
    pub(crate) async fn start(directory: &Path) -> Self {
        let weather = Arc::new(watch::Sender::new(Weather::default()));
        let mut tasks = JoinSet::new();
        let listener = UnixListener::bind(switch_stream(directory)).expect("the path is free");
        tasks.spawn(connect_peers(
            listener,
            directory.to_owned(),
            weather.subscribe(),
        ));
        let socket = UnixDatagram::bind(switch_datagram(directory)).expect("the path is free");
        tasks.spawn(pass_datagrams(
            socket,
            directory.to_owned(),
            weather.subscribe(),
        ));
        let mut http = Vec::new();
        for node in 0..NODES {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            http.push(format!(
                "http://{}",
                listener.local_addr().expect("it is bound")
            ));
            let to = port_stream(directory, node);
            tasks.spawn(connect_clients(listener, to, node, weather.subscribe()));
        }
        Self {
            weather,
            http,
            _tasks: tasks,
        }
    }

    /// Where clients reach each node.
    pub(crate) fn http(&self) -> &[String] {
        &self.http
    }

    /// Changes the weather. Resets are counted on by the one who changes it.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn connect_peers(
    listener: UnixListener,
    directory: PathBuf,
    weather: watch::Receiver<Weather>,
) {
    let mut connections = JoinSet::new();
    while let Ok((mut caller, _)) = listener.accept().await {
        let (directory, weather) = (directory.clone(), weather.clone());
        connections.spawn(async move {
            let mut header = [0; HEADER_BYTES];
            if caller.read_exact(&mut header).await.is_err() {
                return;
            }
            let (from, to) = (usize::from(header[1]), usize::from(header[2]));
            if from >= NODES || to >= NODES {
                return;
            }
            let began = weather.borrow().resets;
            // A call into a cut waits, as the caller's kernel would go on asking.
            let mut asking = weather.clone();
            let open = asking.wait_for(|weather| {
                let cut = weather.links[from][to].cut || weather.links[to][from].cut;
                !cut || weather.resets[from] != began[from] || weather.resets[to] != began[to]
            });
            if open.await.is_err() {
                return;
            }
            let Ok(mut called) = UnixStream::connect(port_stream(&directory, to)).await else {
                return;
            };
            if called.write_all(&header).await.is_err() {
                return;
            }
            let (asking_side, answered_side) = caller.into_split();
            let (answering_side, asked_side) = called.into_split();
            let mut resets = weather.clone();
            tokio::select! {
                () = pass(asking_side, asked_side, from, to, weather.clone()) => {}
                () = pass(answering_side, answered_side, to, from, weather.clone()) => {}
                _ = resets.wait_for(|weather| {
                    weather.resets[from] != began[from] || weather.resets[to] != began[to]
                }) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Passes bytes on in their order, late if the link is slow, and held while it is cut.
async fn pass(
    mut reading: impl AsyncRead + Unpin,
    mut writing: impl AsyncWrite + Unpin,
    from: usize,
    to: usize,
    mut weather: watch::Receiver<Weather>,
) {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(MAX_CHUNKS);
    let looking = weather.clone();
    let read = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = reading.read(&mut buffer).await {
            let link = looking.borrow().links[from][to];
            let late = delay(&link)
                + if lost(&link) {
                    RETRANSMIT
                } else {
                    Duration::ZERO
                };
            let chunk = (Instant::now() + late, buffer[..read].to_vec());
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = chunks.recv().await {
            sleep_until(due).await;
            // What is not acknowledged is not delivered: either direction being cut stalls both.
            let open = weather
                .wait_for(|weather| !weather.links[from][to].cut && !weather.links[to][from].cut);
            if open.await.is_err() || writing.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

async fn pass_datagrams(
    socket: UnixDatagram,
    directory: PathBuf,
    weather: watch::Receiver<Weather>,
) {
    let socket = Arc::new(socket);
    let mut late = JoinSet::new();
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    while let Ok(read) = socket.recv(&mut buffer).await {
        let [from, to, ..] = buffer[..read] else {
            continue;
        };
        let (from, to) = (usize::from(from), usize::from(to));
        if from >= NODES || to >= NODES {
            continue;
        }
        let link = weather.borrow().links[from][to];
        if link.cut || lost(&link) {
            continue;
        }
        let due = Instant::now() + delay(&link);
        let (socket, datagram) = (socket.clone(), buffer[..read].to_vec());
        let target = port_datagram(&directory, to);
        late.spawn(async move {
            sleep_until(due).await;
            let _nobody_listens = socket.send_to(&datagram, target).await;
        });
        while late.try_join_next().is_some() {}
    }
}

async fn connect_clients(
    listener: TcpListener,
    to: PathBuf,
    node: usize,
    weather: watch::Receiver<Weather>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (to, weather) = (to.clone(), weather.clone());
        connections.spawn(async move {
            let Ok(mut server) = UnixStream::connect(to).await else {
                return;
            };
            let header = [TO_HTTP, 0, 0];
            if server.write_all(&header).await.is_err() {
                return;
            }
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let there = async {
                let _ended = tokio::io::copy(&mut from_client, &mut to_server).await;
            };
            let back = async {
                let mut buffer = vec![0; CHUNK_BYTES];
                while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                    if weather.borrow().mute[node]
                        || to_client.write_all(&buffer[..read]).await.is_err()
                    {
                        return;
                    }
                }
            };
            tokio::select! {
                () = there => {}
                () = back => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

fn delay(link: &Link) -> Duration {
    if link.delay_ms == 0 {
        return Duration::ZERO;
    }
    Duration::from_millis(rand::random_range(
        link.delay_ms / 2..=link.delay_ms * 3 / 2,
    ))
}

fn lost(link: &Link) -> bool {
    link.loss > 0 && rand::rng().random_ratio(link.loss.min(100), 100)
}
