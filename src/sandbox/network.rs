//! The drill's network: a bridge in the fabric's namespace, a namespace with one address per pod.
//!
//! There is no route but the network's own, so an address outside is unreachable from anywhere in it.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use serde::{Deserialize, Serialize};

use super::fault::{Doing, Fault};
use super::netlink::{Link, Netlink};

const LOOPBACK: i32 = 1;
const BRIDGE: i32 = 2;
/// The bridge's end of a pod's cable has this index plus the pod's host number.
const FIRST_PORT: i32 = 100;
const POD_LINK: i32 = 2;
/// What is gone with its cluster is noticed within two seconds or so, rather than the kernel's eight, or never where it answered last
/// half a minute ago. Whoever is there answers at once: that is the kernel's doing.
const DOUBT: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(300);

/// The addresses of a drill's network; the bridge has the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRange {
    network: Ipv4Addr,
    prefix: u8,
}

impl Default for AddressRange {
    fn default() -> Self {
        Self { network: Ipv4Addr::new(10, 88, 0, 0), prefix: 16 }
    }
}

impl AddressRange {
    /// `None` unless the prefix leaves room for pods (8 to 28) and the address is the network's own.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Option<Self> {
        let range = Self { network, prefix };
        ((8..=28).contains(&prefix) && network.to_bits() & range.last() == 0).then_some(range)
    }

    /// Host number of the broadcast address.
    fn last(self) -> u32 {
        u32::MAX >> self.prefix
    }

    fn address(self, host: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + host)
    }

    pub fn bridge(self) -> Ipv4Addr {
        self.address(1)
    }
}

pub(crate) struct Network {
    range: AddressRange,
    netlink: Netlink,
    own: File,
    used: BTreeSet<u32>,
    /// Where the search for a free address begins: one that was just given up is not given out at once,
    /// so that nobody who still has it in mind reaches a stranger.
    next: u32,
}

/// A pod's network; it lives as long as this descriptor or a process in it.
pub(crate) struct PodNetwork {
    pub namespace: OwnedFd,
    pub address: Ipv4Addr,
    host: u32,
}

impl Network {
    /// Makes the bridge in the caller's network namespace.
    pub fn make(range: AddressRange) -> Result<Self, Fault> {
        let netlink = Netlink::open().doing("open a netlink socket")?;
        netlink.set_up(LOOPBACK).doing("bring the loopback device up")?;
        // A bridge without an address of its own takes its lowest port's and changes it as pods come and go,
        // under the feet of those that have resolved it.
        let bridge = Link { index: BRIDGE, name: "drill0", mac: mac(range.bridge(), 0) };
        netlink.add_bridge(bridge).doing("make a bridge")?;
        netlink.add_address(BRIDGE, range.bridge(), range.prefix).doing("give the bridge its address")?;
        let own = File::open("/proc/self/ns/net").doing("open the fabric's network namespace")?;
        Ok(Self { range, netlink, own, used: BTreeSet::new(), next: 2 })
    }

    /// Makes a namespace with `eth0` on the bridge.
    pub fn add_pod(&mut self) -> Result<PodNetwork, Fault> {
        let host = self.free_host().ok_or_else(|| Fault::new("give the pod an address", "every address is in use"))?;
        let address = self.range.address(host);
        unshare(CloneFlags::CLONE_NEWNET).doing("make a network namespace")?;
        let made = File::open("/proc/self/ns/net").doing("open the pod's network namespace").and_then(|namespace| {
            let inside = Netlink::open().doing("open a netlink socket in the pod")?;
            Ok((namespace, inside))
        });
        setns(&self.own, CloneFlags::CLONE_NEWNET).doing("return to the fabric's network namespace")?;
        let (namespace, inside) = made?;

        let port = Link { index: FIRST_PORT + host as i32, name: &format!("pod{host}"), mac: mac(address, 1) };
        let eth0 = Link { index: POD_LINK, name: "eth0", mac: mac(address, 0) };
        self.netlink.add_veth(port, BRIDGE, eth0, &namespace).doing("connect the pod to the bridge")?;
        inside.set_up(LOOPBACK).doing("bring the pod's loopback device up")?;
        inside.set_up(POD_LINK).doing("bring eth0 up")?;
        inside.notice_absence(POD_LINK, DOUBT, AGAIN).doing("have eth0 notice who is gone")?;
        inside.add_address(POD_LINK, address, self.range.prefix).doing("give the pod its address")?;
        self.used.insert(host);
        Ok(PodNetwork { namespace: namespace.into(), address, host })
    }

    /// Unplugs a pod; its namespace ends with its last process.
    pub fn remove_pod(&mut self, pod: PodNetwork) -> Result<(), Fault> {
        self.used.remove(&pod.host);
        self.netlink.remove_link(FIRST_PORT + pod.host as i32).doing("unplug the pod")
    }

    fn free_host(&mut self) -> Option<u32> {
        let last = self.range.last();
        let host = (self.next..last).chain(2..self.next).find(|host| !self.used.contains(host))?;
        self.next = host + 1;
        Some(host)
    }
}

/// A locally administered address that follows from the IP address: whoever resolved the one has the other right.
fn mac(address: Ipv4Addr, side: u8) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, side, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_refused_when_it_has_host_bits_or_no_room() {
        assert!(AddressRange::new(Ipv4Addr::new(10, 1, 0, 0), 16).is_some());
        assert!(AddressRange::new(Ipv4Addr::new(10, 1, 0, 7), 16).is_none());
        assert!(AddressRange::new(Ipv4Addr::new(10, 1, 0, 0), 31).is_none());
    }

    #[test]
    fn a_mac_address_follows_from_the_ip_address() {
        assert_ne!(mac(Ipv4Addr::new(10, 88, 0, 2), 0), mac(Ipv4Addr::new(10, 88, 0, 3), 0));
        assert_ne!(mac(Ipv4Addr::new(10, 88, 0, 2), 0), mac(Ipv4Addr::new(10, 88, 0, 2), 1));
        assert_eq!(mac(Ipv4Addr::new(10, 88, 0, 2), 0)[0] & 0b11, 0b10, "local, not multicast");
    }
}
