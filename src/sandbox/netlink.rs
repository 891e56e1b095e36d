//! Just enough rtnetlink to make links and give them addresses, without a program from the host.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

const HEADER: usize = 16;
const REQUEST_ACK: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const VETH_INFO_PEER: u16 = 1;

/// Of `linux/neighbour.h`: the parameters of a table, and which there are.
const NDTA_NAME: u16 = 1;
const NDTA_PARMS: u16 = 6;
const NDTPA_IFINDEX: u16 = 1;
const NDTPA_BASE_REACHABLE_TIME: u16 = 4;
const NDTPA_RETRANS_TIME: u16 = 5;
const NDTPA_DELAY_PROBE_TIME: u16 = 7;

/// A route socket of the network namespace that the caller is in when it opens it, whatever it enters later.
pub(crate) struct Netlink {
    socket: OwnedFd,
}

/// Links are made with the index that the caller chooses, so that none has to be looked up.
#[derive(Clone, Copy)]
pub(crate) struct Link<'a> {
    pub index: i32,
    pub name: &'a str,
    pub mac: [u8; 6],
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
        Ok(Self { socket })
    }

    pub fn add_bridge(&self, bridge: Link<'_>) -> io::Result<()> {
        let mut message = Message::link(bridge.index);
        message.attribute(libc::IFLA_IFNAME, bridge.name.as_bytes());
        message.attribute(libc::IFLA_ADDRESS, &bridge.mac);
        message.nested(libc::IFLA_LINKINFO, |info| info.attribute(libc::IFLA_INFO_KIND, b"bridge"));
        self.call(libc::RTM_NEWLINK, CREATE, message)
    }

    /// A cable: `here` on the bridge with index `bridge`, `there` in another network namespace.
    pub fn add_veth(&self, here: Link<'_>, bridge: i32, there: Link<'_>, network: &impl AsFd) -> io::Result<()> {
        let mut message = Message::link(here.index);
        message.attribute(libc::IFLA_IFNAME, here.name.as_bytes());
        message.attribute(libc::IFLA_ADDRESS, &here.mac);
        message.attribute(libc::IFLA_MASTER, &bridge.to_ne_bytes());
        message.nested(libc::IFLA_LINKINFO, |info| {
            info.attribute(libc::IFLA_INFO_KIND, b"veth");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    // A cable's end cannot be up before it has the other: the caller brings it up.
                    peer.link_header(there.index, 0);
                    peer.attribute(libc::IFLA_IFNAME, there.name.as_bytes());
                    peer.attribute(libc::IFLA_ADDRESS, &there.mac);
                    peer.attribute(libc::IFLA_NET_NS_FD, &network.as_fd().as_raw_fd().to_ne_bytes());
                });
            });
        });
        self.call(libc::RTM_NEWLINK, CREATE, message)
    }

    pub fn set_up(&self, index: i32) -> io::Result<()> {
        self.call(libc::RTM_NEWLINK, 0, Message::link(index))
    }

    pub fn remove_link(&self, index: i32) -> io::Result<()> {
        self.call(libc::RTM_DELLINK, 0, Message::link(index))
    }

    pub fn add_address(&self, index: i32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut message = Message::default();
        message.bytes.extend([libc::AF_INET as u8, prefix, 0, libc::RT_SCOPE_UNIVERSE]);
        message.bytes.extend(index.to_ne_bytes());
        message.attribute(libc::IFA_LOCAL, &address.octets());
        message.attribute(libc::IFA_ADDRESS, &address.octets());
        self.call(libc::RTM_NEWADDR, CREATE, message)
    }

    /// How soon a neighbour on a link that answers no more counts as gone: it is doubted after `doubt`, and asked three times, `again`
    /// apart, from there on.
    pub fn notice_absence(&self, index: i32, doubt: Duration, again: Duration) -> io::Result<()> {
        let mut message = Message::default();
        message.bytes.extend([libc::AF_INET as u8, 0, 0, 0]);
        message.attribute(NDTA_NAME, b"arp_cache\0");
        message.nested(NDTA_PARMS, |parameters| {
            let mut millis = |kind, duration: Duration| {
                parameters.attribute(kind, &(duration.as_millis() as u64).to_ne_bytes());
            };
            millis(NDTPA_BASE_REACHABLE_TIME, doubt);
            millis(NDTPA_DELAY_PROBE_TIME, doubt);
            millis(NDTPA_RETRANS_TIME, again);
            parameters.attribute(NDTPA_IFINDEX, &index.to_ne_bytes());
        });
        self.call(libc::RTM_SETNEIGHTBL, 0, message)
    }

    /// Sends one message and waits for the kernel's verdict on it.
    fn call(&self, kind: u16, flags: u16, message: Message) -> io::Result<()> {
        let mut packet = Vec::with_capacity(HEADER + message.bytes.len());
        packet.extend(((HEADER + message.bytes.len()) as u32).to_ne_bytes());
        packet.extend(kind.to_ne_bytes());
        packet.extend((REQUEST_ACK | flags).to_ne_bytes());
        packet.extend([0; 8]);
        packet.extend(message.bytes);
        send(self.socket.as_raw_fd(), &packet, MsgFlags::empty())?;
        let mut answer = [0; 4096];
        let length = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        let code = answer[..length].get(HEADER..HEADER + 4).and_then(|code| code.try_into().ok());
        match code.map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn link(index: i32) -> Self {
        let mut message = Self::default();
        message.link_header(index, libc::IFF_UP as u32);
        message
    }

    /// An `ifinfomsg` that sets these flags.
    fn link_header(&mut self, index: i32, flags: u32) {
        self.bytes.extend([libc::AF_UNSPEC as u8, 0, 0, 0]);
        self.bytes.extend(index.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.attribute(kind, &inner.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_carry_their_length_and_are_padded_to_four_bytes() {
        let mut message = Message::default();
        message.attribute(3, b"br0");
        message.nested(18, |inner| inner.attribute(1, b"veth"));
        let expected: Vec<u8> = [
            [&7_u16.to_ne_bytes()[..], &3_u16.to_ne_bytes(), b"br0\0"].concat(),
            [&12_u16.to_ne_bytes()[..], &18_u16.to_ne_bytes(), &8_u16.to_ne_bytes(), &1_u16.to_ne_bytes(), b"veth"]
                .concat(),
        ]
        .concat();
        assert_eq!(message.bytes, expected);
    }
}
