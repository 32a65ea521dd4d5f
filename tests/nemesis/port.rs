//! The port of a node: a process in the node's network namespace that is all of its network.
//!
//! It listens on the addresses of the other nodes, passes what the node sends there to the switch, and calls the
//! node from the address of whoever calls it. Ends with its standard input.

use std::{
    env,
    io::{self, Read as _},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream},
    task::JoinSet,
};

use crate::network::{
    HEADER_BYTES, MAX_DATAGRAM_BYTES, NODES, TO_HTTP, TO_PEER, port_datagram, port_stream,
    switch_datagram, switch_stream,
};

/// Tells a port its sockets' directory and its node.
pub(crate) const DIRECTORY: &str = "NEMESIS_PORT_DIRECTORY";
pub(crate) const NODE: &str = "NEMESIS_PORT_NODE";

/// Fixed, for they are free: the namespace is our own.
const PEER_PORT: u16 = 7901;
const HTTP_PORT: u16 = 7801;

/// Where a node listens for its peers.
pub(crate) fn peer_address(node: usize) -> SocketAddr {
    let last = u8::try_from(node + 11).expect("there are a few nodes");
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), PEER_PORT))
}

/// Where a node listens for clients.
pub(crate) fn http_address(node: usize) -> SocketAddr {
    SocketAddr::new(peer_address(node).ip(), HTTP_PORT)
}

/// Runs the port that the environment names; returns at once if it names none.
pub(crate) async fn run() {
    let (Some(directory), Ok(node)) = (env::var_os(DIRECTORY), env::var(NODE)) else {
        return;
    };
    let directory = PathBuf::from(directory);
    let node: usize = node.parse().expect("the number of a node");
    let mut tasks = JoinSet::new();
    let incoming = UnixListener::bind(port_stream(&directory, node)).expect("the path is free");
    let datagrams = UnixDatagram::bind(port_datagram(&directory, node)).expect("the path is free");
    let datagrams = Arc::new(datagrams);
    let mut sockets = Vec::new();
    for other in 0..NODES {
        if other == node {
            sockets.push(None);
            continue;
        }
        let listener = TcpListener::bind(peer_address(other)).await;
        tasks.spawn(call_out(
            listener.expect("the address is free"),
            directory.clone(),
            node,
            other,
        ));
        let socket = UdpSocket::bind(peer_address(other)).await;
        let socket = Arc::new(socket.expect("the address is free"));
        sockets.push(Some(socket.clone()));
        tasks.spawn(send_out(
            socket,
            datagrams.clone(),
            switch_datagram(&directory),
            node,
            other,
        ));
    }
    tasks.spawn(take_in(datagrams, sockets, node));
    tasks.spawn(answer(incoming, node));
    let closed = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
    let _whoever_held_it_is_gone = closed.await;
}

async fn call_out(listener: TcpListener, directory: PathBuf, from: usize, to: usize) {
    let mut connections = JoinSet::new();
    while let Ok((caller, _)) = listener.accept().await {
        let switch = switch_stream(&directory);
        connections.spawn(async move {
            let Ok(mut called) = UnixStream::connect(switch).await else {
                return;
            };
            let header = [TO_PEER, byte(from), byte(to)];
            if called.write_all(&header).await.is_ok() {
                both_ways(caller, called).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(incoming: UnixListener, node: usize) {
    let mut connections = JoinSet::new();
    while let Ok((mut caller, _)) = incoming.accept().await {
        connections.spawn(async move {
            let mut header = [0; HEADER_BYTES];
            if caller.read_exact(&mut header).await.is_err() {
                return;
            }
            let target = if header[0] == TO_HTTP {
                http_address(node)
            } else {
                peer_address(node)
            };
            if let Ok(called) = TcpStream::connect(target).await {
                both_ways(called, caller).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Until either side ends: then the other is torn off.
async fn both_ways(tcp: TcpStream, unix: UnixStream) {
    let _small_frames_go_at_once = tcp.set_nodelay(true);
    let (mut from_tcp, mut to_tcp) = tcp.into_split();
    let (mut from_unix, mut to_unix) = unix.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_tcp, &mut to_unix) => {}
        _ = tokio::io::copy(&mut from_unix, &mut to_tcp) => {}
    }
}

async fn send_out(
    socket: Arc<UdpSocket>,
    datagrams: Arc<UnixDatagram>,
    switch: PathBuf,
    from: usize,
    to: usize,
) {
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    (buffer[0], buffer[1]) = (byte(from), byte(to));
    loop {
        // An error is the node's port being closed while it is dead.
        if let Ok(read) = socket.recv(&mut buffer[2..]).await {
            let _lost = datagrams
                .send_to(&buffer[..read + 2], AsRef::<Path>::as_ref(&switch))
                .await;
        }
    }
}

async fn take_in(datagrams: Arc<UnixDatagram>, sockets: Vec<Option<Arc<UdpSocket>>>, node: usize) {
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    while let Ok(read) = datagrams.recv(&mut buffer).await {
        let [from, _to, ref payload @ ..] = buffer[..read] else {
            continue;
        };
        if let Some(Some(socket)) = sockets.get(usize::from(from)) {
            let _lost = socket.send_to(payload, peer_address(node)).await;
        }
    }
}

fn byte(node: usize) -> u8 {
    u8::try_from(node).expect("there are a few nodes")
}
