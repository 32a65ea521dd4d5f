//! The addresses of a node: bound once, for good, before anything else is opened.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{TcpListener, TcpSocket, UdpSocket};

use super::NodeError;
use crate::config::NodeConfig;

/// How often a free port is looked for that is free for both TCP and UDP.
const MAX_PORT_ATTEMPTS: usize = 32;

/// How many connections may wait to be accepted, if the system allows so many (`net.core.somaxconn`). Of more at once the
/// client hears nothing and tries again, a second later at first.
const BACKLOG: u32 = 4_096;

/// An address of the documentation's network (RFC 5737, RFC 3849): asking which way it would be reached sends
/// nothing.
const ELSEWHERE_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
const ELSEWHERE_V6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    9,
);

/// Everything that a node listens with.
#[derive(Debug)]
pub(super) struct Addresses {
    /// For HTTP.
    pub(super) http: TcpListener,
    /// For sync.
    pub(super) peer: TcpListener,
    /// For gossip, on the port of `peer`.
    pub(super) gossip: UdpSocket,
    /// Where HTTP listens.
    pub(super) http_addr: SocketAddr,
    /// Where sync and gossip listen.
    pub(super) peer_addr: SocketAddr,
    /// Where others reach HTTP.
    pub(super) http_advertised: SocketAddr,
    /// Where others reach sync and gossip.
    pub(super) peer_advertised: SocketAddr,
}

impl Addresses {
    /// Binds what `config` asks for.
    pub(super) async fn bind(config: &NodeConfig) -> Result<Self, NodeError> {
        let http = listen(config.http).map_err(|source| failed("http", config.http, source))?;
        let (peer, gossip) = bind_peer(config.peer)
            .await
            .map_err(|source| failed("peer", config.peer, source))?;
        let local = |listener: &TcpListener, what, wanted| {
            let address = listener.local_addr();
            address.map_err(|source| failed(what, wanted, source))
        };
        let http_addr = local(&http, "http", config.http)?;
        let peer_addr = local(&peer, "peer", config.peer)?;
        let peer_advertised = match config.advertise_peer {
            Some(wanted) => with_port(wanted, peer_addr),
            None => advertised(peer_addr, &config.seeds).await?,
        };
        let http_advertised = match config.advertise_http {
            Some(wanted) => with_port(wanted, http_addr),
            None if http_addr.ip().is_unspecified() => {
                SocketAddr::new(peer_advertised.ip(), http_addr.port())
            }
            None => http_addr,
        };
        Ok(Self {
            http,
            peer,
            gossip,
            http_addr,
            peer_addr,
            http_advertised,
            peer_advertised,
        })
    }
}

/// `wanted`, with the port of `bound` if it names none.
const fn with_port(wanted: SocketAddr, bound: SocketAddr) -> SocketAddr {
    match wanted.port() {
        0 => SocketAddr::new(wanted.ip(), bound.port()),
        _ => wanted,
    }
}

fn failed(what: &'static str, address: SocketAddr, source: io::Error) -> NodeError {
    if source.kind() == io::ErrorKind::AddrInUse {
        NodeError::AddressInUse { what, address }
    } else {
        NodeError::Listen {
            what,
            address,
            source,
        }
    }
}

/// Listens as [`TcpListener::bind`] does, with a longer queue.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Elsewhere it would let two listen on one port.
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// TCP and UDP on one port; of port 0, one that is free for both.
async fn bind_peer(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut attempts = 1;
    loop {
        let tcp = listen(address)?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((tcp, udp)),
            Err(error)
                if address.port() == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && attempts < MAX_PORT_ATTEMPTS =>
            {
                attempts += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Where others reach `bound`: itself, or, if that is every address of this machine, the one from which the
/// first seed that is an address, or else the rest of the world, would be reached.
async fn advertised(bound: SocketAddr, seeds: &[String]) -> Result<SocketAddr, NodeError> {
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    let elsewhere = if bound.is_ipv4() {
        ELSEWHERE_V4
    } else {
        ELSEWHERE_V6
    };
    let seeds = seeds.iter().filter_map(|seed| seed.parse().ok());
    for target in seeds.chain([elsewhere]) {
        if let Ok(ip) = source_towards(bound, target).await
            && !ip.is_unspecified()
        {
            return Ok(SocketAddr::new(ip, bound.port()));
        }
    }
    Err(NodeError::NoAddress(bound))
}

async fn source_towards(bound: SocketAddr, target: SocketAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(bound.ip(), 0)).await?;
    socket.connect(target).await?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    fn config(http: SocketAddr, peer: SocketAddr) -> NodeConfig {
        NodeConfig::new("ann", "unused".into(), http, peer)
    }

    #[tokio::test]
    async fn tcp_and_udp_get_the_same_free_port() {
        let bound = Addresses::bind(&config(free(), free())).await;
        let bound = bound.expect("ports are free");
        let udp = bound.gossip.local_addr().expect("it is bound");
        assert_eq!(udp, bound.peer_addr);
        assert_ne!(udp.port(), 0);
        assert_eq!(bound.peer_advertised, bound.peer_addr);
    }

    #[tokio::test]
    async fn many_who_come_at_once_wait_to_be_tried_again() {
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let allowed = allowed.ok().and_then(|text| text.trim().parse().ok());
        let count = 600.min(allowed.unwrap_or(usize::MAX));
        let bound = Addresses::bind(&config(free(), free())).await;
        let bound = bound.expect("ports are free");
        for address in [bound.http_addr, bound.peer_addr] {
            // Nobody accepts them. The system tries again after a second.
            let soon = std::time::Duration::from_millis(900);
            let connect = |_| std::net::TcpStream::connect_timeout(&address, soon);
            let connected: Result<Vec<_>, _> = (0..count).map(connect).collect();
            assert_eq!(connected.expect("all are taken at once").len(), count);
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_its_setting() {
        let taken = TcpListener::bind(free()).await.expect("a free port");
        let taken = taken.local_addr().expect("it is bound");
        let http = Addresses::bind(&config(taken, free())).await;
        let error = http.expect_err("it is taken");
        assert!(
            matches!(error, NodeError::AddressInUse { what: "http", address } if address == taken),
            "{error}"
        );
        assert!(error.to_string().contains(&taken.to_string()));
        let error = Addresses::bind(&config(free(), taken)).await;
        let error = error.expect_err("it is taken");
        assert!(
            matches!(error, NodeError::AddressInUse { what: "peer", .. }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn udp_alone_taken_is_taken_too() {
        let taken = UdpSocket::bind(free()).await.expect("a free port");
        let taken = taken.local_addr().expect("it is bound");
        let error = Addresses::bind(&config(free(), taken)).await;
        let error = error.expect_err("it is taken");
        assert!(
            matches!(error, NodeError::AddressInUse { what: "peer", .. }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn what_is_to_be_advertised_is_and_its_port_0_is_the_one_that_is_bound() {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut config = config(everywhere, everywhere);
        config.advertise_peer = Some(SocketAddr::from(([192, 0, 2, 7], 17_901)));
        config.advertise_http = Some(SocketAddr::from(([192, 0, 2, 8], 0)));
        let bound = Addresses::bind(&config).await.expect("ports are free");
        assert_eq!(Some(bound.peer_advertised), config.advertise_peer);
        let http = SocketAddr::from(([192, 0, 2, 8], bound.http_addr.port()));
        assert_eq!(bound.http_advertised, http);
        config.advertise_http = None;
        let bound = Addresses::bind(&config).await.expect("ports are free");
        let http = SocketAddr::from(([192, 0, 2, 7], bound.http_addr.port()));
        assert_eq!(bound.http_advertised, http, "where peers reach it");
    }

    #[tokio::test]
    async fn a_node_that_listens_everywhere_advertises_the_way_to_its_seed() {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7901));
        let seeds = ["a-name:7901".to_owned(), "127.0.0.1:7902".to_owned()];
        let advertised = advertised(everywhere, &seeds).await;
        let advertised = advertised.expect("loopback is always there");
        assert_eq!(advertised, SocketAddr::from((Ipv4Addr::LOCALHOST, 7901)));
    }
}
