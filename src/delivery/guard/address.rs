//! The address guard: which IP addresses a request may be sent to.
//!
//! The person who writes a webhook's URL may not be trusted with the network that this process runs
//! in. So requests go to public addresses only, unless the operator's allow list
//! (`delivery.allow_networks`) contains the address. These addresses are refused:
//!
//! - what the IANA special-purpose registries list as not globally reachable (RFC 6890, RFC 8190;
//!   <https://www.iana.org/assignments/iana-ipv4-special-registry>,
//!   <https://www.iana.org/assignments/iana-ipv6-special-registry>);
//! - multicast addresses;
//! - IPv6 addresses outside `2000::/3`, the only block of global unicast addresses.
//!
//! An IPv6 address that carries an IPv4 address is judged by the IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An address that no request is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {reason}, which only delivery.allow_networks can permit")]
pub struct ForbiddenAddress {
    /// The address, as it was given.
    pub address: IpAddr,
    /// What kind of address it is, with its article: "a loopback address".
    pub reason: &'static str,
}

/// Decides which addresses a request may be sent to.
#[derive(Debug, Clone, Default)]
pub struct AddressGuard {
    allow: Vec<IpNet>,
}

impl AddressGuard {
    /// A guard that permits public addresses, and addresses in the `allow` networks.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow }
    }

    /// Checks whether a request may be sent to `address`.
    ///
    /// # Errors
    /// [`ForbiddenAddress`] if the address is not public and no allowed network contains it.
    pub fn check(&self, address: IpAddr) -> Result<(), ForbiddenAddress> {
        // The kernel connects to 10.0.0.1 if it is given ::ffff:10.0.0.1. So the IPv4 address is
        // judged.
        let canonical = address.to_canonical();
        if self.allow.iter().any(|network| network.contains(&canonical)) {
            return Ok(());
        }
        let reason = match canonical {
            IpAddr::V4(address) => special_v4(address),
            IpAddr::V6(v6) => match translated(v6) {
                Some(inside) => {
                    return self.check(inside.into()).map_err(|error| ForbiddenAddress { address, ..error });
                }
                None => special_v6(v6),
            },
        };
        reason.map_or(Ok(()), |reason| Err(ForbiddenAddress { address, reason }))
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_length)
}

const fn v6(first: u16, second: u16, prefix_length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix_length)
}

/// IPv4 blocks that are refused, and what they are. A block comes before a wider block that
/// contains it.
const SPECIAL_V4: [(Ipv4Net, &str); 18] = [
    (v4(0, 0, 0, 0, 32), "the unspecified address"), // RFC 1122
    (v4(0, 0, 0, 0, 8), "an address of \"this network\""), // RFC 791
    (v4(127, 0, 0, 0, 8), "a loopback address"),     // RFC 1122
    (v4(10, 0, 0, 0, 8), "a private address"),       // RFC 1918
    (v4(172, 16, 0, 0, 12), "a private address"),    // RFC 1918
    (v4(192, 168, 0, 0, 16), "a private address"),   // RFC 1918
    (v4(100, 64, 0, 0, 10), "a shared (carrier-grade NAT) address"), // RFC 6598
    (v4(169, 254, 0, 0, 16), "a link-local address"), // RFC 3927; cloud metadata is 169.254.169.254
    (v4(168, 63, 129, 16, 32), "the address of Azure's platform services"), // public by number, internal by use
    (v4(192, 0, 0, 0, 24), "an address of IETF protocol assignments"),      // RFC 6890
    (v4(192, 0, 2, 0, 24), "a documentation address"),                      // RFC 5737
    (v4(198, 51, 100, 0, 24), "a documentation address"),                   // RFC 5737
    (v4(203, 0, 113, 0, 24), "a documentation address"),                    // RFC 5737
    (v4(198, 18, 0, 0, 15), "a benchmarking address"),                      // RFC 2544
    (v4(192, 88, 99, 0, 24), "a 6to4 relay address"),                       // RFC 7526
    (v4(224, 0, 0, 0, 4), "a multicast address"),                           // RFC 5771
    (v4(255, 255, 255, 255, 32), "the broadcast address"),                  // RFC 8190
    (v4(240, 0, 0, 0, 4), "a reserved address"),                            // RFC 1112
];

/// IPv6 blocks that are refused, and what they are. A block comes before a wider block that
/// contains it.
const SPECIAL_V6: [(Ipv6Net, &str); 12] = [
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "the unspecified address"), // RFC 4291
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "a loopback address"),        // RFC 4291
    (v6(0, 0, 96), "an IPv4-compatible address"),                                 // RFC 4291
    (v6(0x64, 0xff9b, 32), "a local-use NAT64 address"), // RFC 8215 (64:ff9b:1::/48); 64:ff9b::/96 is judged before
    (v6(0x100, 0, 64), "a discard-only address"),        // RFC 6666
    (v6(0xfc00, 0, 7), "a unique-local address"),        // RFC 4193; cloud metadata is fd00:ec2::254
    (v6(0xfe80, 0, 10), "a link-local address"),         // RFC 4291
    (v6(0xff00, 0, 8), "a multicast address"),           // RFC 4291
    (v6(0x2001, 0, 32), "a Teredo address"),             // RFC 4380; hides an IPv4 address and is out of use
    (v6(0x2001, 0, 23), "an address of IETF protocol assignments"), // RFC 2928
    (v6(0x2001, 0xdb8, 32), "a documentation address"),  // RFC 3849
    (v6(0x3fff, 0, 20), "a documentation address"),      // RFC 9637
];

/// The block that IANA hands out as global unicast addresses (RFC 4291, RFC 3587).
const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 3);

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    SPECIAL_V4.iter().find(|(network, _)| network.contains(&address)).map(|&(_, reason)| reason)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let listed = SPECIAL_V6.iter().find(|(network, _)| network.contains(&address)).map(|&(_, reason)| reason);
    let outside = (!GLOBAL_UNICAST.contains(&address)).then_some("not a global unicast address");
    listed.or(outside)
}

/// The IPv4 address that a NAT64 (RFC 6052) or 6to4 (RFC 3056) gateway would forward to.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] | [0x20, 0x02, a, b, c, d, ..] => {
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn guard(allow: &[&str]) -> AddressGuard {
        AddressGuard::new(allow.iter().map(|network| network.parse().expect("a network")).collect())
    }

    #[rstest]
    #[case::loopback("127.0.0.1", "loopback")]
    #[case::loopback_end("127.255.255.255", "loopback")]
    #[case::private_10("10.0.0.1", "private")]
    #[case::private_172("172.31.255.255", "private")]
    #[case::private_192("192.168.1.1", "private")]
    #[case::metadata("169.254.169.254", "link-local")]
    #[case::azure("168.63.129.16", "Azure")]
    #[case::carrier("100.100.100.200", "shared")]
    #[case::unspecified("0.0.0.0", "unspecified")]
    #[case::this_network("0.1.2.3", "this network")]
    #[case::assignments("192.0.0.192", "protocol assignments")]
    #[case::documentation("203.0.113.9", "documentation")]
    #[case::benchmark("198.19.255.255", "benchmarking")]
    #[case::relay("192.88.99.1", "relay")]
    #[case::multicast("239.1.2.3", "multicast")]
    #[case::reserved("250.0.0.1", "reserved")]
    #[case::broadcast("255.255.255.255", "broadcast")]
    #[case::unspecified_v6("::", "unspecified")]
    #[case::loopback_v6("::1", "loopback")]
    #[case::compatible("::8.8.8.8", "compatible")]
    #[case::mapped("::ffff:10.0.0.1", "private")]
    #[case::nat64("64:ff9b::a00:1", "private")]
    #[case::nat64_metadata("64:ff9b::169.254.169.254", "link-local")]
    #[case::nat64_local("64:ff9b:1::8.8.8.8", "NAT64")]
    #[case::six_to_four("2002:7f00:1::1", "loopback")]
    #[case::teredo("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo")]
    #[case::assignments_v6("2001:2::1", "protocol assignments")]
    #[case::documentation_v6("2001:db8::1", "documentation")]
    #[case::documentation_new("3fff::1", "documentation")]
    #[case::unique_local("fd00:ec2::254", "unique-local")]
    #[case::link_local("fe80::1", "link-local")]
    #[case::site_local("fec0::1", "not a global unicast")]
    #[case::multicast_v6("ff02::1", "multicast")]
    #[case::discard("100::1", "discard")]
    #[case::translated("::ffff:0:8.8.8.8", "not a global unicast")]
    #[case::routing("5f00::1", "not a global unicast")]
    fn refuses(#[case] text: &str, #[case] reason: &str) {
        let error = guard(&[]).check(address(text)).expect_err(text);
        assert!(error.reason.contains(reason), "{text}: {error}");
        assert_eq!(error.address, address(text));
        let network = IpNet::from(address(text).to_canonical());
        assert_eq!(
            AddressGuard::new(vec![network]).check(address(text)),
            Ok(()),
            "its own network allows {text}"
        );
    }

    #[rstest]
    #[case("8.8.8.8")]
    #[case("1.1.1.1")]
    #[case("172.32.0.1")]
    #[case("100.128.0.1")]
    #[case("198.20.0.1")]
    #[case("::ffff:8.8.8.8")]
    #[case("2606:4700::1111")]
    #[case("64:ff9b::8.8.8.8")]
    #[case("2002:808:808::1")]
    fn lets_public_addresses_through(#[case] text: &str) {
        assert_eq!(guard(&[]).check(address(text)), Ok(()));
    }

    #[test]
    fn an_allowed_network_opens_itself_and_nothing_else() {
        let guard = guard(&["10.1.0.0/16", "fd12::/16"]);
        for open in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd12::5"] {
            assert_eq!(guard.check(address(open)), Ok(()), "{open}");
        }
        for shut in ["10.2.0.1", "127.0.0.1", "fd13::5", "64:ff9b::10.2.0.1"] {
            assert!(guard.check(address(shut)).is_err(), "{shut}");
        }
    }

    #[test]
    fn the_message_is_one_line_that_says_what_to_do() {
        let error = guard(&[]).check(address("127.0.0.1")).expect_err("loopback");
        assert_eq!(
            error.to_string(),
            "127.0.0.1 is a loopback address, which only delivery.allow_networks can permit"
        );
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library_on_what_is_not_public(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let not_public = v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified()
                || v4.is_multicast() || v4.is_broadcast() || v4.is_documentation();
            let refused = guard(&[]).check(v4.into()).is_err();
            prop_assert!(refused || !not_public);
        }

        #[test]
        fn every_way_to_write_an_ipv4_address_gets_the_same_answer(bits: u32) {
            let [a, b, c, d] = bits.to_be_bytes();
            let plain = guard(&[]).check(Ipv4Addr::from(bits).into()).is_ok();
            let nat64 = Ipv6Addr::from([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]);
            let six_to_four = Ipv6Addr::from([0x20, 0x02, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            for written in [Ipv4Addr::from(bits).to_ipv6_mapped(), nat64, six_to_four] {
                prop_assert_eq!(guard(&[]).check(written.into()).is_ok(), plain);
            }
        }

        #[test]
        fn no_ipv6_address_outside_global_unicast_is_reached(bits: u128) {
            let v6 = Ipv6Addr::from(bits);
            if v6.to_ipv4_mapped().is_none() && !GLOBAL_UNICAST.contains(&v6) && translated(v6).is_none() {
                prop_assert!(guard(&[]).check(v6.into()).is_err());
            }
        }

        #[test]
        fn allowing_everything_allows_everything(bits: u128, small: u32) {
            let guard = guard(&["0.0.0.0/0", "::/0"]);
            prop_assert!(guard.check(Ipv6Addr::from(bits).into()).is_ok());
            prop_assert!(guard.check(Ipv4Addr::from(small).into()).is_ok());
        }
    }
}
