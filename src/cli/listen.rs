//! Whether the addresses that a command wants can be had, told with the flag that changes them.
//!
//! A node binds its addresses itself and for good. This looks before anything is opened, so that the common
//! mistake, a second start on the same ports, is answered in the words of the command line.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use anyhow::Context as _;

/// An address, for what it is wanted, and which flag changes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// The address; port 0 is always to be had.
    pub(super) address: SocketAddr,
    /// Whether UDP is wanted beside TCP.
    pub(super) udp: bool,
    /// Whose address it is, and for what.
    pub(super) what: &'a str,
    /// The flag that changes it.
    pub(super) flag: &'a str,
}

impl Wanted<'_> {
    /// Fails if the address cannot be had now.
    pub(super) fn check(self) -> anyhow::Result<()> {
        let Self {
            address,
            udp,
            what,
            flag,
        } = self;
        let bind = || -> Result<(), (&str, io::Error)> {
            TcpListener::bind(address).map_err(|error| ("TCP", error))?;
            if udp {
                UdpSocket::bind(address).map_err(|error| ("UDP", error))?;
            }
            Ok(())
        };
        match bind() {
            Ok(()) => Ok(()),
            Err((protocol, error)) if error.kind() == io::ErrorKind::AddrInUse => {
                anyhow::bail!(
                    "{protocol} port {} of {} is taken, which is wanted for {what}; stop what uses it, or choose another with {flag}",
                    address.port(),
                    address.ip(),
                )
            }
            Err((protocol, error)) => Err(error).with_context(|| {
                format!("cannot listen at {address} ({protocol}) for {what}; choose another address with {flag}")
            }),
        }
    }
}
